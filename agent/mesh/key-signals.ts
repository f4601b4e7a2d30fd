/** What peers say of keys that change, theirs and ours, and what is done about it. */
import type { KeySignal } from '../../crypto/signal.ts'
import type { WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Log } from '../log.ts'
import type { Announcer } from './announcer.ts'
import type { DevicePeers } from './device-peers.ts'
import type { KeyHandover } from './key-handover.ts'
import type { KeySuccession } from './key-succession.ts'
import type { SerialTask } from './serial-task.ts'

interface Options {
  readonly succession: KeySuccession
  readonly handover: KeyHandover
  readonly devicePeers: Pick<DevicePeers, 'readyToMove'>
  readonly announcer: Pick<Announcer, 'say'>
  readonly apply: Pick<SerialTask, 'request' | 'lastError'>
  readonly log: Log
}

export class KeySignals {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async hear(sender: MeshPeer, { step, key }: KeySignal): Promise<void> {
    const { handover, announcer, log } = this.#options
    if (step === 'ready' || step === 'moved') return handover.hear(sender.id, step, key)
    try {
      const isDone = step === 'prepare' ? await this.#hold(sender, key) : await this.#move(sender, key)
      if (isDone) announcer.say([sender], { kind: 'key', step: step === 'prepare' ? 'ready' : 'moved', key })
    } catch (error) {
      // The peer asks again.
      log.warn("a peer's next key could not be made ready", { problem: String(error) })
    }
  }

  async #hold(peer: MeshPeer, key: WireGuardKey): Promise<boolean> {
    const { succession, devicePeers, apply } = this.#options
    if (!succession.hold(peer, key)) return false
    await apply.request()
    succession.ready(peer.id, await devicePeers.readyToMove(peer, key))
    return apply.lastError === undefined
  }

  async #move(peer: MeshPeer, key: WireGuardKey): Promise<boolean> {
    const { succession, apply } = this.#options
    try {
      return await succession.move(peer, key)
    } finally {
      await apply.request()
    }
  }
}
