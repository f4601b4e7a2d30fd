/** What the parts of the Fleet object work with. */
import type { FleetId } from '../protocol/ids.ts'
import type { Env } from './env.ts'
import type { FleetMesh } from './fleet-mesh.ts'
import type { NodeRegistry } from './node-registry.ts'
import type { NodeShards } from './node-shards.ts'
import type { Sql } from './sql.ts'

export interface FleetParts {
  readonly id: FleetId
  readonly env: Env
  readonly sql: Sql
  readonly nodes: NodeRegistry
  readonly mesh: FleetMesh
  readonly shards: NodeShards
}
