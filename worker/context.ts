/** What a request carries through the gateway. */
import type { Context } from 'hono'
import type { ProofId } from '../crypto/request-proof.ts'
import type { Config } from '../durable-objects/config.ts'
import type { Env } from '../durable-objects/env.ts'
import type { NodeRecord } from '../durable-objects/node-record.ts'
import type { Role } from '../protocol/roles.ts'

export interface GatewayEnv {
  Bindings: Env
  Variables: {
    requestId: string
    config: Config
    /** Set behind `requireRole`: who acts, as the audit trail names it, in which role, and until when (null: without an end). */
    actor: string
    role: Role
    credentialExpiresAt: number | null
    /** Set behind `requireNode`: the node that signed, and its proof. */
    node: NodeRecord
    proof: ProofId
    /** The body that the proof covers. */
    body: Uint8Array
    /** A response that has the gateway's signature already. */
    signed?: Response
  }
}

export type GatewayContext = Context<GatewayEnv>
