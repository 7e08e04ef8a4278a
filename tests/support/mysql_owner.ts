// A process that owns a server, tells where it is, and waits to be killed. Tests start it; it is no test itself.
import { startMysqld } from '../../lib/edge/mysqld.ts'

const { dir, pid, port } = await startMysqld()
console.log(JSON.stringify({ dir, pid, port }))
setInterval(() => undefined, 60_000)
