/** Writes and reads secrets as people and nodes do. */
import { fromUtf8, randomId } from '../../crypto/bytes.ts'
import { openDelivery } from '../../crypto/delivery.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { NodeSecretsReply, SecretDetail, SecretReadReply } from '../../protocol/secrets.ts'
import { admin, call, refusalOf, type TestNode } from './support.ts'

type Wanted = string | { readonly name: string; readonly version?: number }

const path = (name: string): string => `/v1/secrets/${encodeURIComponent(name)}`

export const put = (name: string, value: string | Uint8Array, query = ''): Promise<Response> =>
  admin('PUT', `${path(name)}${query}`, value)

/** A change that must succeed. */
export async function changed(response: Promise<Response>): Promise<SecretDetail> {
  return SecretDetail.parse(await (await response).json())
}

export const change = (name: string, what: string, body: object = {}): Promise<Response> =>
  admin('POST', `${path(name)}/${what}`, body)

export const patch = (name: string, body: object): Promise<Response> => admin('PATCH', path(name), body)

export const show = (name: string): Promise<SecretDetail> => changed(admin('GET', path(name)))

export async function fetchSecrets(node: TestNode, wanted: readonly Wanted[], workload?: string) {
  const secrets = wanted.map((one) => (typeof one === 'string' ? { name: one } : one))
  const body = JSON.stringify({ secrets, workload })
  const { jwt, jti } = await node.proof('POST', '/v1/node/secrets', body)
  const headers = { authorization: `Claw ${jwt}` }
  return { response: await call('/v1/node/secrets', { method: 'POST', headers, body }), jti }
}

/** The code that a node gets instead of the secrets. */
export async function refusedTo(node: TestNode, wanted: Wanted, workload?: string): Promise<unknown> {
  return (await refusalOf((await fetchSecrets(node, [wanted], workload)).response)).code
}

export async function read(node: TestNode, wanted: readonly Wanted[], workload?: string): Promise<string[]> {
  const { response, jti } = await fetchSecrets(node, wanted, workload)
  const { fleet, items } = NodeSecretsReply.parse(await response.json())
  const key = await importSealingKey(node.sealing)
  return Promise.all(
    items.map(async ({ name, version, sealed }) => {
      const opened = await openDelivery(key, sealed, { fleet, name, version, request: jti })
      if (!opened.ok) throw new Error('not for us')
      return fromUtf8(opened.value.expose())
    }),
  )
}

export async function readResponse(name: string, options: object = {}) {
  const key = generateX25519()
  const request = randomId()
  const body = { sealTo: await x25519PublicKey(key), request, ...options }
  return { key, request, response: await admin('POST', `${path(name)}/read`, body) }
}

export async function readAsAdmin(name: string, options: object = {}): Promise<string> {
  const { key, request, response } = await readResponse(name, options)
  const { fleet, item } = SecretReadReply.parse(await response.json())
  const opened = await openDelivery(await importSealingKey(key), item.sealed, { fleet, ...item, request })
  if (!opened.ok) throw new Error('not for us')
  return fromUtf8(opened.value.expose())
}
