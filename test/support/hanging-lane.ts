/** A lane with a fault whose thread never ends: it sits in native code, from which nothing calls it back. */
import koffi from 'koffi'
import './failing-lane.ts'

const sleep = koffi.load(null).func('unsigned int sleep(unsigned int)') as (seconds: number) => number
process.on('uncaughtExceptionMonitor', () => void sleep(3600))
