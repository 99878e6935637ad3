/** A lane with a built-in fault: its thread never ends, because it is stuck in native code. */
import koffi from 'koffi'
import './failing-lane.ts'

const sleep = koffi.load(null).func('unsigned int sleep(unsigned int)') as (seconds: number) => number
process.on('uncaughtExceptionMonitor', () => void sleep(3600))
