/**
 * A test file that leaves a server open, so that the leak check must fail it. Only the test of the leak check runs it.
 */
import { createServer } from 'node:net'
import { test } from 'vitest'
import { expectNothingLeftOpen } from './leak-check.ts'

test('a server that is not closed', () => void createServer().listen(0, '127.0.0.1'))

expectNothingLeftOpen({ patienceMs: 500 })
