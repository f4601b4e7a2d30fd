/** A node's signed requests to its gateway. */

import { utf8 } from '../crypto/bytes.ts'
import { openDelivery } from '../crypto/delivery.ts'
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { NodeSecretsReply } from '../protocol/http.ts'
import type { NodeId, SecretName } from '../protocol/ids.ts'
import { PROOF_SCHEME } from '../protocol/proof.ts'
import { parseAnswer, sendSigned } from './gateway-answer.ts'
import type { GatewayClock } from './gateway-clock.ts'
import type { NodeKeys } from './node-keys.ts'

interface Options {
  readonly connection: GatewayConnection
  readonly node: NodeId
  readonly keys: NodeKeys
  readonly clock: GatewayClock
}

const NOTHING = new Uint8Array()
const SECRETS_PATH = '/v1/node/secrets'

export class NodeClient {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** All of the secrets or none, in one request. The caller wipes them. */
  async fetchSecrets(names: readonly SecretName[]): Promise<Map<SecretName, SecretBytes>> {
    const { connection, clock, keys } = this.#options
    const body = utf8(JSON.stringify({ names }))
    const { answer, jti } = await sendSigned(clock, async (now) => {
      const proof = await this.#prove('POST', SECRETS_PATH, body, now)
      const headers = { ...proof.headers, 'content-type': 'application/json' }
      return {
        answer: await connection.request({ method: 'POST', path: SECRETS_PATH, headers, body }),
        jti: proof.jti,
      }
    })
    const reply = parseAnswer(NodeSecretsReply, answer)
    const secrets = new Map<SecretName, SecretBytes>()
    for (const { name, version, sealed } of reply.items) {
      const opened = await openDelivery(keys.sealing.privateKey, sealed, {
        fleet: reply.fleet,
        name,
        version,
        request: jti,
      })
      if (!opened.ok) throw undeliverable(name)
      secrets.set(name, opened.value)
    }
    const absent = names.find((name) => !secrets.has(name))
    if (absent !== undefined) throw undeliverable(absent)
    return secrets
  }

  /** Headers for a session upgrade. */
  async upgradeHeaders(path: string): Promise<Record<string, string>> {
    return (await this.#prove('GET', path, NOTHING, this.#options.clock.now())).headers
  }

  async #prove(method: string, path: string, body: Uint8Array, now: number) {
    const { connection, keys, node } = this.#options
    const { origin } = connection.url
    const { jwt, jti } = await keys.identity.signProof({ node, origin, method, path, body }, now)
    return { headers: { authorization: `${PROOF_SCHEME} ${jwt}` }, jti }
  }
}

const undeliverable = (name: SecretName): UserError =>
  new UserError({
    code: 'E_DELIVERY_CORRUPT',
    message: `the secret ${name} did not arrive as it was sealed for this node and this request`,
    fix: 'try again; if it stays so, somebody between this machine and the gateway changes what passes',
    exitCode: EXIT.failure,
  })
