import { expect, test } from 'bun:test'
import { countJunit, verdict } from '../../scripts/test.ts'

const junit = (tests: number, failures: number, skipped: number) =>
  `<?xml version="1.0"?>\n<testsuites name="bun test" tests="${tests}" assertions="9" failures="${failures}" skipped="${skipped}" time="0.1">\n<testsuite name="a" tests="1" failures="1" skipped="0"/></testsuites>`

test('counts the whole report, not its first file', () => {
  expect(countJunit(junit(12, 2, 3))).toEqual({ passed: 7, failed: 2, skipped: 3 })
  expect(() => countJunit('<testsuites name="x" tests="1">')).toThrow('the test report has no failures')
  expect(() => countJunit('')).toThrow('the test report has no tests')
})

test('closes with a line that counts tests and checks', () => {
  expect(verdict({ passed: 5, failed: 0, skipped: 0 }, [true, true], 0)).toEqual({
    line: '7 passed, 0 failed',
    exitCode: 0,
  })
  expect(verdict({ passed: 5, failed: 1, skipped: 2 }, [true, false], 1)).toEqual({
    line: '6 passed, 2 failed, 2 skipped',
    exitCode: 1,
  })
})

test('fails when no test ran, when all were skipped, and on an error outside any test', () => {
  expect(verdict({ passed: 0, failed: 0, skipped: 0 }, [true, true], 0)).toEqual({
    line: '2 passed, 1 failed',
    exitCode: 1,
  })
  expect(verdict({ passed: 0, failed: 0, skipped: 4 }, [true], 0).exitCode).toBe(1)
  expect(verdict({ passed: 9, failed: 0, skipped: 0 }, [true], 1)).toEqual({
    line: '10 passed, 1 failed',
    exitCode: 1,
  })
})
