/** What only a kernel with AppArmor shows: it enforces the distribution's profile on mysqld. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { VirtualMachine } from '../support/vm_machine.ts'

setDefaultTimeout(1_200_000)

const label = 'cat /proc/$(pgrep -x mysqld)/attr/current'

let vm: VirtualMachine

beforeAll(async () => {
  vm = await VirtualMachine.boot([], 'apparmor=1 security=apparmor')
})
afterAll(() => vm.stop())

test('the kernel enforces the profile that the distribution ships for mysqld', async () => {
  await vm.must('until systemctl is-active -q mysql && mysqladmin ping; do sleep 1; done')
  expect(await vm.must('cat /sys/module/apparmor/parameters/enabled')).toBe('Y\n')
  expect(await vm.must(label)).toMatch(/mysqld \(enforce\)$/m)
})
