/**
 * What waits for slow clients in all the datagram queues of a lane. A queue has a limit of its own, but a user may have
 * thousands of them.
 */

/** What a user's queues may hold, and all of a lane; beyond that a user has this share. */
const USER_BYTES = 16_777_216
const LANE_BYTES = 67_108_864
const SHARE_BYTES = 1_048_576

export class DatagramRoom {
  readonly #userBytes: number
  readonly #users = new Map<string, UserRoom>()
  /** Of all users. */
  bytes = 0

  /** @param queueBytes the limit of one queue, which a user may always fill. */
  constructor(queueBytes: number) {
    this.#userBytes = Math.max(USER_BYTES, queueBytes)
  }

  of(user: string): UserRoom {
    let room = this.#users.get(user)
    if (room === undefined) {
      room = new UserRoom(this, this.#userBytes)
      this.#users.set(user, room)
    }
    return room
  }
}

export class UserRoom {
  readonly #lane: DatagramRoom
  readonly #limit: number
  #bytes = 0

  constructor(lane: DatagramRoom, limit: number) {
    this.#lane = lane
    this.#limit = limit
  }

  /** False when there is no room for so much more. */
  take(bytes: number): boolean {
    const limit = this.#lane.bytes + bytes > LANE_BYTES ? SHARE_BYTES : this.#limit
    if (this.#bytes + bytes > limit) return false
    this.#bytes += bytes
    this.#lane.bytes += bytes
    return true
  }

  give(bytes: number): void {
    this.#bytes -= bytes
    this.#lane.bytes -= bytes
  }
}
