/** Path MTUs where this machine lets us find them out, and the interface's own size for everybody where it does not. */
import type { NodeId } from '../../protocol/ids.ts'
import type { MeshEngineOptions } from './engine-options.ts'
import type { MtuProbe } from './mtu-probe.ts'
import { PathMtu, type ReachedPeer } from './path-mtu.ts'
import { innerMtuTo } from './underlay-mtu.ts'

interface Options extends Pick<MeshEngineOptions, 'openMtuProbe' | 'self' | 'clock' | 'commands' | 'log'> {
  /** Makes the routes as `mtuOf` says; resolves when they are. */
  readonly apply: () => Promise<void>
}

export class MtuDiscovery {
  readonly #options: Options
  #probe: MtuProbe | undefined
  #paths: PathMtu | undefined

  constructor(options: Options) {
    this.#options = options
  }

  /** Call when the interface is up. */
  async open(): Promise<void> {
    const { openMtuProbe, self, clock, commands, log, apply } = this.#options
    if (openMtuProbe === undefined || this.#probe !== undefined) return
    try {
      const probe = await openMtuProbe(self.ipv4)
      this.#probe = probe
      this.#paths = new PathMtu({
        clock,
        probe,
        known: (endpoint) => innerMtuTo(commands, endpoint).catch(() => undefined),
        apply,
      })
    } catch (error) {
      log.warn('the size of packets to peers cannot be found out', { problem: String(error) })
    }
  }

  /** Undefined: the interface's own. */
  mtuOf(id: NodeId): number | undefined {
    return this.#paths?.mtuOf(id)
  }

  follow(reached: readonly ReachedPeer[], known: ReadonlySet<NodeId>): void {
    this.#paths?.follow(reached, known)
  }

  close(): void {
    this.#probe?.close()
  }
}
