/** The admin API (protocol/http.ts) as the commands use it. */
import * as z from 'zod'
import type { GatewayConnection, GatewayResponse } from '../host/gateway-connection.ts'
import {
  type ApiKeyCreateBody,
  ApiKeyCreateReply,
  type ApiKeyItem,
  ApiKeyList,
  WhoamiReply,
} from '../protocol/api-keys.ts'
import { type AuditArchiveBody, AuditArchiveReply, type AuditItem, AuditList } from '../protocol/audit.ts'
import {
  NodeItem,
  NodeList,
  type TokenCreateBody,
  TokenCreateReply,
  type TokenItem,
  TokenList,
} from '../protocol/http.ts'
import {
  MeshAnswerReply,
  type MeshPingBody,
  type MeshReportBody,
  MeshStatusList,
  type PeerCreateBody,
  PeerItem,
  PeerList,
} from '../protocol/mesh-http.ts'
import type { MeshPolicyDocument } from '../protocol/mesh-policy.ts'
import {
  MeshPolicyExplainReply,
  MeshPolicyHistory,
  MeshPolicyReply,
  MeshPolicySetReply,
  MeshPolicyTestReply,
} from '../protocol/mesh-policy-api.ts'
import { NodeRoutes, type RouteChangeBody } from '../protocol/node-routes.ts'
import type { NodePatchBody } from '../protocol/node-tags.ts'
import {
  KeyringReply,
  SecretDetail,
  type SecretExplainBody,
  SecretExplainReply,
  type SecretItem,
  SecretList,
  type SecretPatchBody,
  type SecretReadBody,
  SecretReadReply,
  SecretRecipients,
  type SecretSealedBody,
  SecretVersionList,
} from '../protocol/secrets.ts'

const Nothing = z.undefined()
/** A sealed version names up to a thousand nodes, and a secret's notes may be 40 KB: full pages would be larger than an answer may be. */
const SECRETS_PER_PAGE = '200'

interface Body {
  readonly type: string
  readonly content: Uint8Array | string
}

/** What a write says beside the value. */
interface SecretWrite {
  readonly cas?: number | undefined
  /** Milliseconds. */
  readonly overlap?: number | undefined
  readonly readers: SecretReaders
}

/** Without any, an existing secret keeps the policy it has. */
export interface SecretReaders {
  readonly tags: readonly string[]
  readonly nodes: readonly string[]
}

export type SecretVersionEntry = z.infer<typeof SecretVersionList>['items'][number]
export type SecretRecipient = z.infer<typeof SecretRecipients>['items'][number]

interface ListPage<Item> {
  readonly items: Item[]
  readonly next?: string | undefined
}

export class AdminClient {
  readonly #connection: GatewayConnection
  readonly #authorization: string

  /** Of the gateway, as in `https://gateway.example:8443`. */
  get origin(): string {
    return this.#connection.url.origin
  }

  constructor(connection: GatewayConnection, token: string) {
    this.#connection = connection
    this.#authorization = `Bearer ${token}`
  }

  createToken(body: TokenCreateBody) {
    return this.#call(TokenCreateReply, 'POST', '/v1/tokens', json(body))
  }

  async tokens(): Promise<TokenItem[]> {
    return (await this.#call(TokenList, 'GET', '/v1/tokens')).items
  }

  revokeToken(id: string) {
    return this.#call(Nothing, 'DELETE', `/v1/tokens/${encodeURIComponent(id)}`)
  }

  nodes(): Promise<NodeItem[]> {
    return this.#all<NodeItem>(NodeList, '/v1/nodes')
  }

  node(name: string): Promise<NodeItem> {
    return this.#call(NodeItem, 'GET', `/v1/nodes/${encodeURIComponent(name)}`)
  }

  tagNode(name: string, tags: NodePatchBody['tags']): Promise<NodeItem> {
    return this.#call(NodeItem, 'PATCH', `/v1/nodes/${encodeURIComponent(name)}`, json({ tags }))
  }

  removeNode(name: string) {
    return this.#call(Nothing, 'DELETE', `/v1/nodes/${encodeURIComponent(name)}`)
  }

  nodeRoutes(name: string): Promise<NodeRoutes> {
    return this.#call(NodeRoutes, 'GET', `/v1/nodes/${encodeURIComponent(name)}/routes`)
  }

  changeNodeRoutes(name: string, change: RouteChangeBody): Promise<NodeRoutes> {
    return this.#call(NodeRoutes, 'PATCH', `/v1/nodes/${encodeURIComponent(name)}/routes`, json(change))
  }

  setNodeAddress(name: string, ip4: string): Promise<NodeItem> {
    return this.#call(NodeItem, 'PUT', `/v1/nodes/${encodeURIComponent(name)}/ip`, json({ ip4 }))
  }

  quarantineNode(name: string, body: { readonly reason: string }) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/quarantine`, json(body))
  }

  releaseNode(name: string) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/release`, json({}))
  }

  rotateNodeIdentity(name: string) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/rotate-identity`, json({}))
  }

  rotateNodeWireguard(name: string) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/rotate-wireguard`, json({}))
  }

  /** All pages; the head is that of the first. */
  async meshStatus(): Promise<Pick<MeshStatusList, 'head' | 'items'>> {
    let head: MeshStatusList['head'] | undefined
    const items: MeshStatusList['items'] = []
    for (let cursor: string | undefined; ; ) {
      const query = new URLSearchParams(cursor === undefined ? {} : { cursor })
      const page = await this.#call(MeshStatusList, 'GET', withQuery('/v1/mesh/status', query))
      head ??= page.head
      items.push(...page.items)
      cursor = page.next
      if (cursor === undefined) return { head, items }
    }
  }

  meshReport(body: MeshReportBody): Promise<MeshAnswerReply> {
    return this.#call(MeshAnswerReply, 'POST', '/v1/mesh/report', json(body))
  }

  meshPing(body: MeshPingBody): Promise<MeshAnswerReply> {
    return this.#call(MeshAnswerReply, 'POST', '/v1/mesh/ping', json(body))
  }

  meshPeers(): Promise<PeerItem[]> {
    return this.#all<PeerItem>(PeerList, '/v1/mesh/peers')
  }

  addMeshPeer(body: PeerCreateBody): Promise<PeerItem> {
    return this.#call(PeerItem, 'POST', '/v1/mesh/peers', json(body))
  }

  removeMeshPeer(name: string) {
    return this.#call(Nothing, 'DELETE', `/v1/mesh/peers/${encodeURIComponent(name)}`)
  }

  putSecret(name: string, value: Uint8Array, { cas, overlap, readers }: SecretWrite) {
    const query = new URLSearchParams(readersQuery(readers))
    if (cas !== undefined) query.set('cas', String(cas))
    if (overlap !== undefined) query.set('overlap', String(overlap))
    return this.#call(SecretDetail, 'PUT', withQuery(secretPath(name), query), {
      type: 'application/octet-stream',
      content: value,
    })
  }

  putSealedSecret(name: string, body: SecretSealedBody) {
    return this.#call(SecretDetail, 'POST', `${secretPath(name)}/sealed`, json(body))
  }

  patchSecret(name: string, body: z.input<typeof SecretPatchBody>) {
    return this.#call(SecretDetail, 'PATCH', secretPath(name), json(body))
  }

  readSecret(name: string, body: z.input<typeof SecretReadBody>) {
    return this.#call(SecretReadReply, 'POST', `${secretPath(name)}/read`, json(body))
  }

  secret(name: string) {
    return this.#call(SecretDetail, 'GET', secretPath(name))
  }

  /** Undefined if there is none: asked as a list, because looking for what is not there is a refusal in the trail. */
  async findSecret(name: string): Promise<SecretItem | undefined> {
    const query = new URLSearchParams({ prefix: name, limit: '1' })
    const { items } = await this.#call(SecretList, 'GET', withQuery('/v1/secrets', query))
    return items.find((item) => item.name === name)
  }

  secrets(query: { readonly prefix?: string | undefined; readonly due?: boolean } = {}) {
    const { prefix, due = false } = query
    return this.#all<SecretItem>(SecretList, '/v1/secrets', {
      limit: SECRETS_PER_PAGE,
      ...(prefix !== undefined && { prefix }),
      ...(due && { due: 'true' }),
    })
  }

  /** @param versions the newest if there are none. */
  changeSecretVersions(name: string, change: 'delete' | 'undelete' | 'destroy', versions: readonly number[]) {
    const body = versions.length === 0 ? {} : { versions }
    return this.#call(SecretDetail, 'POST', `${secretPath(name)}/${change}`, json(body))
  }

  purgeSecret(name: string) {
    return this.#call(Nothing, 'DELETE', secretPath(name))
  }

  explainSecret(name: string, body: z.input<typeof SecretExplainBody>) {
    return this.#call(SecretExplainReply, 'POST', `${secretPath(name)}/explain`, json(body))
  }

  /** Who may read it; of those readers, if there are any, and else by the policy it has. */
  async secretRecipients(name: string, readers: SecretReaders): Promise<SecretRecipient[]> {
    const path = withQuery(`${secretPath(name)}/recipients`, new URLSearchParams(readersQuery(readers)))
    return (await this.#call(SecretRecipients, 'GET', path)).items
  }

  /** Every version there is. */
  secretVersions(): Promise<SecretVersionEntry[]> {
    return this.#all<SecretVersionEntry>(SecretVersionList, '/v1/secret-versions', {
      limit: SECRETS_PER_PAGE,
    })
  }

  keyring() {
    return this.#call(KeyringReply, 'GET', '/v1/keys')
  }

  rewrapKeys() {
    return this.#call(KeyringReply, 'POST', '/v1/keys/rewrap', json({}))
  }

  /** @param version the one in force if undefined. */
  meshPolicy(version: number | undefined): Promise<MeshPolicyReply> {
    const query = new URLSearchParams(version === undefined ? {} : { version: String(version) })
    return this.#call(MeshPolicyReply, 'GET', withQuery(MESH_POLICY, query))
  }

  /** @param cas the version that it replaces, 0 for none. */
  setMeshPolicy(policy: MeshPolicyDocument, cas: number): Promise<MeshPolicySetReply> {
    return this.#call(MeshPolicySetReply, 'PUT', `${MESH_POLICY}?cas=${cas}`, json(policy))
  }

  testMeshPolicy(policy: MeshPolicyDocument): Promise<MeshPolicyTestReply> {
    return this.#call(MeshPolicyTestReply, 'POST', `${MESH_POLICY}/test`, json(policy))
  }

  explainMesh(question: {
    from: string
    to: string
    port: string | undefined
  }): Promise<MeshPolicyExplainReply> {
    const { from, to, port } = question
    const query = new URLSearchParams({ from, to, ...(port !== undefined && { port }) })
    return this.#call(MeshPolicyExplainReply, 'GET', withQuery(`${MESH_POLICY}/explain`, query))
  }

  meshPolicyHistory(): Promise<MeshPolicyHistory> {
    return this.#call(MeshPolicyHistory, 'GET', `${MESH_POLICY}/history`)
  }

  createApiKey(body: ApiKeyCreateBody) {
    return this.#call(ApiKeyCreateReply, 'POST', '/v1/api-keys', json(body))
  }

  apiKeys(): Promise<ApiKeyItem[]> {
    return this.#all<ApiKeyItem>(ApiKeyList, '/v1/api-keys')
  }

  revokeApiKey(name: string) {
    return this.#call(Nothing, 'DELETE', `/v1/api-keys/${encodeURIComponent(name)}`)
  }

  whoami(): Promise<WhoamiReply> {
    return this.#call(WhoamiReply, 'GET', '/v1/whoami')
  }

  /** Newest first. @param filter as protocol/audit.ts has it. */
  audit(limit: number, filter: Readonly<Record<string, string>> = {}): Promise<AuditItem[]> {
    return this.#all<AuditItem>(AuditList, '/v1/audit', filter, limit)
  }

  /** Oldest first, from that index; one page, with `position` to ask on from. */
  auditFrom(from: number, filter: Readonly<Record<string, string>> = {}): Promise<AuditList> {
    return this.#call(
      AuditList,
      'GET',
      withQuery('/v1/audit', new URLSearchParams({ ...filter, from: String(from) })),
    )
  }

  archiveAudit(body: AuditArchiveBody): Promise<AuditArchiveReply> {
    return this.#call(AuditArchiveReply, 'POST', '/v1/audit/archive', json(body))
  }

  /** Where it is, as an origin. */
  get gateway(): string {
    return this.#connection.url.origin
  }

  /** Any answer as it comes. */
  get(path: string): Promise<GatewayResponse> {
    return this.#connection.request({ method: 'GET', path, headers: { authorization: this.#authorization } })
  }

  async #all<Item>(
    schema: z.ZodType<ListPage<Item>>,
    path: string,
    parameters: Readonly<Record<string, string>> = {},
    limit = Number.POSITIVE_INFINITY,
  ): Promise<Item[]> {
    const items: Item[] = []
    let cursor: string | undefined
    do {
      const query = new URLSearchParams({ ...parameters, ...(cursor !== undefined && { cursor }) })
      const page: ListPage<Item> = await this.#call(schema, 'GET', withQuery(path, query))
      items.push(...page.items)
      cursor = page.next
    } while (cursor !== undefined && items.length < limit)
    return items.slice(0, limit)
  }

  #call<T>(schema: z.ZodType<T>, method: string, path: string, body?: Body): Promise<T> {
    const headers = { authorization: this.#authorization, ...(body && { 'content-type': body.type }) }
    return this.#connection.call(schema, { method, path, headers, ...(body && { body: body.content }) })
  }
}

const MESH_POLICY = '/v1/mesh/policy'

const json = (value: unknown): Body => ({ type: 'application/json', content: JSON.stringify(value) })

const secretPath = (name: string): string => `/v1/secrets/${encodeURIComponent(name)}`

const withQuery = (path: string, query: URLSearchParams): string =>
  query.size === 0 ? path : `${path}?${query}`

const readersQuery = ({ tags, nodes }: SecretReaders): [string, string][] => [
  ...tags.map((tag): [string, string] => ['allow-tag', tag]),
  ...nodes.map((node): [string, string] => ['allow-node', node]),
]
