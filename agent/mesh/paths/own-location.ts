/** Where this machine is by its own interfaces: looked at when asked, and as soon as the system's addresses change. */
import type { BlockList } from 'node:net'
import type { Clock } from '../../clock.ts'
import type { Log } from '../../log.ts'
import { outsideAddresses, ownEndpoints } from '../endpoints.ts'
import type { MeshEngineOptions } from '../engine-options.ts'
import { readLocalAddresses } from '../local-addresses.ts'
import { NetworkWatch } from './network-watch.ts'
import type { PathEngine } from './path-engine.ts'

interface Options
  extends Pick<MeshEngineOptions, 'commands' | 'iface' | 'listenPort' | 'publicEndpoint' | 'networkState'> {
  readonly fleet: BlockList
  readonly paths: Pick<PathEngine, 'relocate' | 'moved'>
  readonly clock: Clock
  readonly log: Log
  /** The machine was looked at; it need not be elsewhere. */
  readonly onLook: () => void
}

export class OwnLocation {
  readonly #options: Options
  #watch: NetworkWatch | undefined

  constructor(options: Options) {
    this.#options = options
  }

  async look(): Promise<void> {
    const { commands, iface, listenPort, publicEndpoint, fleet, paths, log, onLook } = this.#options
    try {
      const local = await readLocalAddresses(commands)
      const at = { iface, listenPort, fleet, configured: publicEndpoint }
      paths.relocate(outsideAddresses(local, at), ownEndpoints(local, at))
      onLook()
    } catch (error) {
      log.warn('the addresses of this machine cannot be read', { problem: String(error) })
    }
  }

  /** @param onChange is called when this machine has been looked at again. */
  watch(onChange: () => void): void {
    const { clock, networkState: look, paths } = this.#options
    if (look === undefined) return
    this.#watch = new NetworkWatch({
      clock,
      look,
      onChange: (what) => (what === 'slept' ? paths.moved() : void this.look().then(onChange)),
    })
  }

  stop(): void {
    this.#watch?.stop()
  }
}
