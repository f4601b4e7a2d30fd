/** What the gateway is bound to; wrangler.toml declares it. Names of secrets are listed there, too. */
import type { AuditLog } from './audit-log.ts'
import type { Fleet } from './fleet.ts'
import type { KeyRewrap } from './key-rewrap.ts'
import type { RelayShard } from './relay-shard.ts'
import type { SessionShard } from './session-shard.ts'

export interface Env {
  readonly FLEET: DurableObjectNamespace<Fleet>
  readonly SESSION_SHARD: DurableObjectNamespace<SessionShard>
  readonly RELAY_SHARD: DurableObjectNamespace<RelayShard>
  readonly AUDIT_LOG: DurableObjectNamespace<AuditLog>
  readonly KEY_REWRAP: DurableObjectNamespace<KeyRewrap>
  readonly DB: D1Database
  readonly CIPHERTEXTS: KVNamespace
  readonly FLEET_NAME: string
  readonly FLEET_CIDR: string
  readonly SESSION_SHARDS: string
  /** How long nodes use the mesh map after they last heard the gateway, like `12h`; 7 days if absent. */
  readonly MESH_LEASE?: string
  readonly GATEWAY_ORIGINS: string
  /** Relays for nodes that do not reach each other: `self` for the gateway's own, origins (`wss://…`) of others. None where it is empty. */
  readonly RELAYS?: string
  /** PEM of the private CA that signed this gateway's certificate, where there is one; join tokens carry it. */
  readonly GATEWAY_CA?: string
  /** `cloudflare`, or anything else where the gateway runs embedded. */
  readonly EDGE: string
  /** `host:port` of STUN servers, separated by spaces; nodes ask none that is not named. */
  readonly STUN_SERVERS?: string
  readonly MASTER_KEYRING: string
  readonly GATEWAY_SIGNING_KEY: string
  readonly ADMIN_TOKEN_HASH: string
  /** Public key (base64url) that will follow GATEWAY_SIGNING_KEY; nodes learn it in advance. */
  readonly GATEWAY_NEXT_KEY?: string
  /** SHA-256 (base64url) of the SubjectPublicKeyInfo of each certificate this gateway serves, where it knows: not on Cloudflare. */
  readonly GATEWAY_TLS_SPKI?: string
}
