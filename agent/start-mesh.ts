/** Puts the mesh engine together for this node and starts it. */
import { EXIT, UserError } from '../host/user-error.ts'
import type { Clock } from './clock.ts'
import type { JoinedNode } from './joined-node.ts'
import type { Log } from './log.ts'
import type { MeshRuntime } from './mesh-runtime.ts'

interface Options {
  readonly node: JoinedNode
  readonly clock: Clock
  readonly log: Log
  readonly iface: string
  readonly listenPort: number
  /** wireguard-go even where the kernel has WireGuard. */
  readonly userspace: boolean
}

export function startMesh(_: Options): Promise<MeshRuntime> {
  throw new UserError({
    code: 'E_MESH_UNAVAILABLE',
    message: 'this machine cannot take part in the mesh',
    fix: 'clawnode run --no-mesh',
    exitCode: EXIT.badConfig,
  })
}
