/** The keys by which this node knows its gateway, whatever certificate somebody shows (crypto/gateway-proof.ts). */
import { verifyGateway } from '../crypto/gateway-proof.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import type { GatewayProof } from '../protocol/frames.ts'
import type { GatewayKey } from '../protocol/ids.ts'

export class GatewayKeys {
  #accepted: readonly GatewayKey[]
  readonly #save: (keys: readonly GatewayKey[]) => void

  /** @param save is called before a change counts. */
  constructor(accepted: readonly GatewayKey[], save: (keys: readonly GatewayKey[]) => void) {
    this.#accepted = accepted
    this.#save = save
  }

  /** The key in force, and a successor if one was announced. */
  get accepted(): readonly GatewayKey[] {
    return this.#accepted
  }

  /** Whether the gateway signed this. A successor it announces is accepted from then on; a key that has followed ends the one before. */
  async verify(proof: GatewayProof, transcript: Uint8Array): Promise<boolean> {
    const keys = await verifyGateway(proof, transcript, this.#accepted)
    // While this one was checked another may have brought the successor.
    if (keys === undefined || !this.#accepted.includes(proof.key)) return false
    if (keys.join() !== this.#accepted.join()) {
      this.#save(keys)
      this.#accepted = keys
    }
    return true
  }
}

export const wrongGatewayKey = (): UserError =>
  new UserError({
    code: 'E_GATEWAY_KEY',
    message: "whoever answers does not hold the gateway's key",
    why: 'somebody with a trusted certificate is in between, or the gateway has a new key that it did not announce',
    fix: 'ask whoever runs the gateway; if its key was lost, join again with a new token',
    exitCode: EXIT.auth,
  })
