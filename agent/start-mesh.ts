/** Puts the mesh engine together for this node, and brings its interface up. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { parseJson } from '../protocol/json.ts'
import type { Clock } from './clock.ts'
import type { NodeConfig } from './config/node-config.ts'
import { MeshNames } from './dns/mesh-names.ts'
import type { JoinedNode } from './joined-node.ts'
import type { Log } from './log.ts'
import { SystemBackend } from './mesh/backend.ts'
import { MeshEngine } from './mesh/engine.ts'
import type { MeshEngineOptions } from './mesh/engine-options.ts'
import { systemCommands } from './mesh/exec.ts'
import type { ForwardingNote } from './mesh/forwarding.ts'
import { bootId } from './mesh/interface-record.ts'
import { openMtuProbe } from './mesh/mtu-probe.ts'
import { systemAddresses } from './mesh/paths/network-watch.ts'
import { SharedPort } from './mesh/paths/shared-port.ts'
import { MeshRuntime } from './mesh-runtime.ts'

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
  >
}

/** @throws UserError if there can be no interface here. */
export async function startMesh(options: Options): Promise<MeshRuntime> {
  const { clock, log } = options
  const runtime = new MeshRuntime({
    clock,
    log,
    createEngine: (sendSignals, sendAck) => createEngine(options, { sendSignals, sendAck }),
  })
  await runtime.start()
  return runtime
}

function createEngine(
  { node, clock, log, config }: Options,
  outlets: Pick<MeshEngineOptions, 'sendSignals' | 'sendAck'>,
): MeshEngine {
  const { interface: iface, listenPort, publicEndpoint, stun, userspace } = config
  const { directory, keys } = node
  const { id, fleet, ipv4, ipv4Range } = node.state.node
  const cache = join(directory, 'mesh.json')
  const commands = systemCommands
  const { publicKey } = keys.wireguard
  return new MeshEngine({
    fleet: { id: fleet, ipv4Range },
    self: { id, ipv4, wireguard: keys.wireguard, sealing: keys.sealing },
    iface,
    listenPort,
    publicEndpoint,
    stun,
    networkState: systemAddresses,
    openPort: () => SharedPort.open({ commands, iface, listenPort }),
    backend: new SystemBackend({ commands, iface, publicKey, stateDirectory: directory, userspace }),
    commands,
    openMtuProbe,
    routes: {
      offers: config.routes,
      masquerade: config.routesMasquerade,
      note: fileNote(join(directory, `forwarding-${iface}.json`)),
    },
    names: createNames({ node, clock, log, config }),
    clock,
    log,
    loadCache: () => {
      const content = readPrivateFile(cache)
      return content && Buffer.from(content).toString('utf8')
    },
    saveCache: (text) => writePrivateFile(cache, text),
    ...outlets,
  })
}

/** A restart of the machine undoes what was changed, and the note then says nothing of it. */
function fileNote(path: string): ForwardingNote {
  return {
    load: () => {
      const note = Note.safeParse(parseJson(readPrivateFile(path) ?? ''))
      return note.success && note.data.boot === bootId() ? note.data.changed : undefined
    },
    save: (changed) => {
      if (changed === undefined) rmSync(path, { force: true })
      else writePrivateFile(path, `${JSON.stringify({ boot: bootId(), changed })}\n`)
    },
  }
}

const Note = z.object({ boot: z.string(), changed: z.string() })

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
