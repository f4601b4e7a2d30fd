/** The admin API (protocol/http.ts) as the commands use it. */
import * as z from 'zod'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import {
  type ApiKeyCreateBody,
  ApiKeyCreateReply,
  type ApiKeyItem,
  ApiKeyList,
  WhoamiReply,
} from '../protocol/api-keys.ts'
import { type AuditItem, AuditList } from '../protocol/audit.ts'
import {
  NodeItem,
  NodeList,
  type TokenCreateBody,
  TokenCreateReply,
  type TokenItem,
  TokenList,
} from '../protocol/http.ts'
import type { NodePatchBody } from '../protocol/node-tags.ts'
import { SecretItem, SecretList, SecretReadReply } from '../protocol/secrets.ts'

const Nothing = z.undefined()

interface Body {
  readonly type: string
  readonly content: Uint8Array | string
}

interface ListPage<Item> {
  readonly items: Item[]
  readonly next?: string | undefined
}

export class AdminClient {
  readonly #connection: GatewayConnection
  readonly #authorization: string

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

  quarantineNode(name: string, body: { readonly reason: string }) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/quarantine`, json(body))
  }

  releaseNode(name: string) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/release`, json({}))
  }

  rotateNodeIdentity(name: string) {
    return this.#call(Nothing, 'POST', `/v1/nodes/${encodeURIComponent(name)}/rotate-identity`, json({}))
  }

  /** Without a policy, an existing secret keeps the one it has. */
  putSecret(
    name: string,
    value: Uint8Array,
    policy: { readonly allowTags: readonly string[]; readonly allowNodes: readonly string[] },
  ) {
    const query = new URLSearchParams([
      ...policy.allowTags.map((tag) => ['allow-tag', tag] as [string, string]),
      ...policy.allowNodes.map((node) => ['allow-node', node] as [string, string]),
    ])
    const path = `/v1/secrets/${encodeURIComponent(name)}${query.size === 0 ? '' : `?${query}`}`
    return this.#call(SecretItem, 'PUT', path, { type: 'application/octet-stream', content: value })
  }

  readSecret(name: string, body: { readonly sealTo: string; readonly request: string }) {
    return this.#call(SecretReadReply, 'POST', `/v1/secrets/${encodeURIComponent(name)}/read`, json(body))
  }

  secrets(): Promise<SecretItem[]> {
    return this.#all<SecretItem>(SecretList, '/v1/secrets')
  }

  removeSecret(name: string) {
    return this.#call(Nothing, 'DELETE', `/v1/secrets/${encodeURIComponent(name)}`)
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

  /** Newest first. */
  audit(limit: number): Promise<AuditItem[]> {
    return this.#all<AuditItem>(AuditList, '/v1/audit', limit)
  }

  async #all<Item>(
    schema: z.ZodType<ListPage<Item>>,
    path: string,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<Item[]> {
    const items: Item[] = []
    let cursor: string | undefined
    do {
      const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`
      const page: ListPage<Item> = await this.#call(schema, 'GET', path + query)
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

const json = (value: unknown): Body => ({ type: 'application/json', content: JSON.stringify(value) })
