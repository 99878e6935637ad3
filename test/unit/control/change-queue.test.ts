/**
 * A request to change what is in force used to join a change already under way, which had read the files before: a user
 * who was removed in between stayed.
 */
import { describe, expect, it } from 'vitest'
import { ChangeQueue } from '../../../src/control/change-queue.ts'

/** A change that reports when it begins, and ends on request. */
class Change {
  begun = 0
  readonly #end = Promise.withResolvers<void>()

  readonly run = (): Promise<void> => {
    this.begun++
    return this.#end.promise
  }

  end(error?: Error): void {
    if (error) this.#end.reject(error)
    else this.#end.resolve()
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a queue of changes', () => {
  it('a queue of changes runs a request that comes while a change is under way after it', async () => {
    const queue = new ChangeQueue()
    const [first, second] = [new Change(), new Change()]
    const done = [queue.request('reload', first.run)]
    await turn()
    done.push(queue.request('reload', second.run))
    await turn()
    expect([first.begun, second.begun]).toEqual([1, 0])
    first.end()
    await turn()
    expect(second.begun).toBe(1)
    second.end()
    await Promise.all(done)
  })

  it('a queue of changes shares one run between requests of a kind that wait, and not with another kind', async () => {
    const queue = new ChangeQueue()
    const [under, reload, other] = [new Change(), new Change(), new Change()]
    const done = [queue.request('reload', under.run)]
    await turn()
    done.push(queue.request('reload', reload.run), queue.request('certificates', other.run))
    done.push(queue.request('reload', reload.run))
    for (const change of [under, reload, other]) change.end()
    await Promise.all(done)
    expect([under.begun, reload.begun, other.begun]).toEqual([1, 1, 1])
  })

  it('a queue of changes goes on after a change that failed, and tells only who asked for it', async () => {
    const queue = new ChangeQueue()
    const [broken, next] = [new Change(), new Change()]
    const failing = queue.request('reload', broken.run)
    await turn()
    const working = queue.request('reload', next.run)
    broken.end(new Error('the files are wrong'))
    next.end()
    await expect(failing).rejects.toThrow('the files are wrong')
    await expect(working).resolves.toBeUndefined()
  })
})
