/** A test file that leaves a server open: the leak check must fail it. Run by the test of the leak check alone. */
import { createServer } from 'node:net'
import { test } from 'vitest'
import { expectNothingLeftOpen } from './leak-check.ts'

test('a server that is not closed', () => void createServer().listen(0, '127.0.0.1'))

expectNothingLeftOpen({ patienceMs: 500 })
