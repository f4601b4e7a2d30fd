/** Puts the mesh engine together for this node, and brings its interface up. */
import { join } from 'node:path'
import { readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { systemBootClock } from './boot-clock.ts'
import type { Clock } from './clock.ts'
import type { NodeConfig } from './config/node-config.ts'
import { MeshNames } from './dns/mesh-names.ts'
import type { JoinedNode } from './joined-node.ts'
import type { Log } from './log.ts'
import { SystemBackend } from './mesh/backend.ts'
import { MeshEngine } from './mesh/engine.ts'
import type { MeshEngineOptions } from './mesh/engine-options.ts'
import { systemCommands } from './mesh/exec.ts'
import { forwardingNote } from './mesh/forwarding-note.ts'
import { MapLease } from './mesh/map-lease.ts'
import { openMtuProbe } from './mesh/mtu-probe.ts'
import { systemAddresses } from './mesh/paths/network-watch.ts'
import { SharedPort } from './mesh/paths/shared-port.ts'
import { removeLeftRules } from './mesh/relay/loopback.ts'
import { createNodeRelay } from './mesh/relay/node-relay.ts'
import type { RelayPaths } from './mesh/relay-paths.ts'
import { MeshRuntime } from './mesh-runtime.ts'

export const MAP_FILE = 'mesh.json'
export const LEASE_FILE = 'mesh-lease.json'

interface Options {
  readonly node: JoinedNode
  readonly clock: Clock
  readonly log: Log
  readonly config: Pick<
    NodeConfig,
    | 'interface'
    | 'listenPort'
    | 'publicEndpoint'
    | 'stun'
    | 'userspace'
    | 'names'
    | 'routes'
    | 'routesMasquerade'
    | 'psk'
  >
}

/** @throws UserError if there can be no interface here. */
export async function startMesh(options: Options): Promise<MeshRuntime> {
  const { node, clock, log, config } = options
  const { interface: iface, listenPort } = config
  const relay = createNodeRelay({ node, clock, log, commands: systemCommands, iface, listenPort })
  await removeLeftRules(systemCommands, iface)
  const lease = createLease(options)
  const runtime = new MeshRuntime({
    clock,
    log,
    lease,
    relay,
    createEngine: (sendSignals, sendAck) => createEngine(options, { relay, lease }, { sendSignals, sendAck }),
  })
  await runtime.start()
  return runtime
}

function createEngine(
  { node, clock, log, config }: Options,
  { relay, lease }: { readonly relay: RelayPaths; readonly lease: MapLease },
  outlets: Pick<MeshEngineOptions, 'sendSignals' | 'sendAck'>,
): MeshEngine {
  const { interface: iface, listenPort, publicEndpoint, stun, userspace } = config
  const { directory, keys } = node
  const { id, fleet, ipv4, ipv4Range } = node.state.node
  const cache = join(directory, MAP_FILE)
  const commands = systemCommands
  return new MeshEngine({
    fleet: { id: fleet, ipv4Range },
    self: {
      id,
      ipv4,
      get wireguard() {
        return keys.wireguard
      },
      sealing: keys.sealing,
    },
    iface,
    listenPort,
    publicEndpoint,
    stun,
    networkState: systemAddresses,
    openPort: () => SharedPort.open({ commands, iface, listenPort }),
    backend: new SystemBackend({
      commands,
      iface,
      get publicKey() {
        return keys.wireguard.publicKey
      },
      stateDirectory: directory,
      userspace,
    }),
    commands,
    openMtuProbe,
    routes: {
      offers: config.routes,
      masquerade: config.routesMasquerade,
      note: forwardingNote(directory, iface),
    },
    relay,
    names: createNames({ node, clock, log, config }),
    clock,
    log,
    psk: config.psk,
    lease,
    loadCache: () => readText(cache),
    saveCache: (text) => writePrivateFile(cache, text),
    ...outlets,
  })
}

function createLease({ node, clock, log }: Options): MapLease {
  const path = join(node.directory, LEASE_FILE)
  const save = (text: string) => {
    try {
      writePrivateFile(path, text)
    } catch (error) {
      log.warn('the lease of the mesh map could not be noted', { problem: String(error) })
    }
  }
  return new MapLease({ clock, bootClock: systemBootClock, load: () => readText(path), save })
}

function readText(path: string): string | undefined {
  const content = readPrivateFile(path)
  return content && Buffer.from(content).toString('utf8')
}

function createNames({ node, clock, log, config }: Options): MeshNames | undefined {
  const { names: mode, interface: iface } = config
  if (mode === 'off') return undefined
  const { id, name, fleet, fleetName, ipv4, ipv4Range } = node.state.node
  return new MeshNames({
    mode,
    iface,
    fleet: { id: fleet, name: fleetName, ipv4Range },
    self: { id, name, ipv4 },
    stateDirectory: node.directory,
    commands: systemCommands,
    clock,
    log,
  })
}
