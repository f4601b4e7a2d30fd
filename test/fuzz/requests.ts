/** Requests to the gateway that are almost right: made from valid ones, spoiled before or after they are signed. */
import { randomId } from '../../crypto/bytes.ts'
import { type Dice, type Json, mutateJson, mutateMessage, mutateText } from './mutate.ts'
import type { RawNode } from './raw-node.ts'

export interface FuzzRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Credentials {
  readonly admin: string
  readonly join: string
  readonly nodes: readonly [RawNode, ...RawNode[]]
}

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'] as const
const SCHEMES = ['Bearer', 'Claw', 'bearer', 'Basic', ''] as const
type Header = readonly [string, string]

const HEADERS: readonly [Header, ...Header[]] = [
  ['content-type', 'text/plain'],
  ['content-type', ''],
  ['content-encoding', 'gzip'],
  ['upgrade', 'websocket'],
  ['x-forwarded-for', "'; --"],
  ['cf-connecting-ip', '::'],
  ['cf-connecting-ip', 'nonsense'],
  ['origin', 'https://evil.test'],
  ['range', 'bytes=5-2'],
  ['if-none-match', '*'],
  ['expect', 'nothing'],
  ['cookie', 'a=b; '.repeat(50)],
  ['claw-proof', 'x'],
  ['claw-body-hash', 'x'],
  ['accept', '\u00ff'],
]

/** A valid administrative call; names of its own, so that it does no harm that was not looked for. */
const ADMIN: readonly [Template, ...Template[]] = [
  { method: 'GET', path: '/v1/nodes?limit=5&cursor=YQ' },
  { method: 'GET', path: '/v1/nodes/fuzz-1' },
  { method: 'DELETE', path: '/v1/nodes/nobody' },
  { method: 'POST', path: '/v1/nodes/fuzz-2/quarantine', body: { reason: 'odd' } },
  { method: 'POST', path: '/v1/nodes/fuzz-2/release', body: {} },
  { method: 'POST', path: '/v1/nodes/fuzz-1/rotate-identity', body: {} },
  { method: 'POST', path: '/v1/nodes/fuzz-1/rotate-wireguard', body: {} },
  { method: 'PATCH', path: '/v1/nodes/fuzz-1', body: { tags: { add: ['odd'], remove: ['gpu'] } } },
  { method: 'PATCH', path: '/v1/nodes/fuzz-2', body: { tags: ['gpu', 'odd'] } },
  { method: 'POST', path: '/v1/api-keys', body: { name: 'fuzz', role: 'viewer', ttlMs: 60_000 } },
  { method: 'GET', path: '/v1/api-keys?limit=2&cursor=ZnV6ejpB' },
  { method: 'DELETE', path: '/v1/api-keys/fuzz' },
  { method: 'GET', path: '/v1/whoami' },
  { method: 'POST', path: '/v1/tokens', body: { tags: ['gpu'], ttlMs: 60_000, uses: 1 } },
  { method: 'GET', path: '/v1/tokens' },
  { method: 'DELETE', path: '/v1/tokens/AAAAAAAAAAAAAAAAAAAAAA' },
  { method: 'PUT', path: '/v1/secrets/fuzz.one?allow-tag=gpu&allow-node=fuzz-1', body: 'value' },
  {
    method: 'POST',
    path: '/v1/secrets/fuzz.kept/read',
    body: { sealTo: `${'q'.repeat(42)}A`, request: 'A'.repeat(22) },
  },
  { method: 'GET', path: '/v1/secrets?limit=3' },
  { method: 'DELETE', path: '/v1/secrets/fuzz.one' },
  { method: 'GET', path: '/v1/audit?limit=2&cursor=MTI' },
  { method: 'GET', path: '/v1/audit?from=3&action=node.enrol&target=node:&since=2026-01-01T00:00:00Z' },
  { method: 'GET', path: '/v1/audit/3' },
  { method: 'GET', path: '/v1/audit/checkpoint' },
  { method: 'GET', path: '/v1/audit/inclusion?index=1&size=3' },
  { method: 'GET', path: '/v1/audit/consistency?from=1&to=3' },
  { method: 'GET', path: '/v1/audit/tile/0/000.p/2' },
  { method: 'GET', path: '/v1/audit/tile/entries/000.p/2' },
  { method: 'POST', path: '/v1/audit/archive', body: { size: 3, root: `${'q'.repeat(42)}A=` } },
]

interface Template {
  readonly method: string
  readonly path: string
  readonly body?: Json
}

export async function fuzzRequest(dice: Dice, credentials: Credentials): Promise<FuzzRequest> {
  switch (dice.below(8)) {
    case 0:
      return adminRequest(dice, credentials)
    case 1:
    case 2:
      return enrolment(dice, credentials)
    case 3:
    case 4:
      return nodeRequest(dice, credentials)
    default:
      return stranger(dice, credentials)
  }
}

function adminRequest(dice: Dice, { admin }: Credentials): FuzzRequest {
  const { method, path, body } = dice.pick(ADMIN)
  return spoil(dice, {
    method,
    path: dice.below(3) === 0 ? spoilPath(dice, path) : path,
    headers: { authorization: `Bearer ${admin}` },
    body: body === undefined || method === 'GET' ? '' : mutateMessage(dice, body),
  })
}

/** Claims are spoiled before they are signed, so that the code behind the signature sees them. */
async function enrolment(dice: Dice, { join, nodes }: Credentials): Promise<FuzzRequest> {
  const node = dice.pick(nodes)
  const claims = mutateJson(dice, node.enrolmentClaims(join))
  const request = await node.signEnrolment(claims)
  const spoiled = dice.below(3) === 0 ? mutateText(dice, request) : request
  const body =
    dice.below(3) === 0 ? mutateMessage(dice, { request: spoiled }) : JSON.stringify({ request: spoiled })
  const token = dice.below(6) === 0 ? mutateText(dice, join) : join
  return { method: 'POST', path: '/v1/enrol', headers: { authorization: printable(`Bearer ${token}`) }, body }
}

async function nodeRequest(dice: Dice, { nodes }: Credentials): Promise<FuzzRequest> {
  const node = dice.pick(nodes)
  const [path, content] = dice.pick<readonly [string, Json]>([
    ['/v1/node/secrets', { names: ['fuzz.kept', 'fuzz.one', 'missing'] }],
    ['/v1/node/secrets', { names: ['fuzz.kept'] }],
    ['/v1/node/wireguard-key', { step: 'announce', key: 'A'.repeat(43) }],
    ['/v1/node/identity', { request: await node.signEnrolment({ sub: node.id, aud: 'x', iat: 1 }) }],
  ])
  const body = dice.below(4) === 0 ? JSON.stringify(content) : mutateMessage(dice, content)
  const claims = node.proofClaims('POST', path, body)
  const signed = await node.signProof(dice.below(3) === 0 ? mutateJson(dice, claims) : claims)
  const jwt = dice.below(4) === 0 ? mutateText(dice, signed) : signed
  return { method: 'POST', path, headers: { authorization: printable(`Claw ${jwt}`) }, body }
}

/** Somebody with no credential, or with another's scheme. */
function stranger(dice: Dice, { join }: Credentials): FuzzRequest {
  const { method, path, body } = dice.pick<Template>([
    ...ADMIN,
    { method: 'GET', path: '/healthz' },
    { method: 'GET', path: '/v1/session' },
  ])
  // Never the token itself: the point is a stranger.
  const credential = dice.pick([`x${mutateText(dice, join)}`, randomId(), `claw_${randomId()}`, 'a.b.c', ''])
  return spoil(dice, {
    method: dice.below(3) === 0 ? dice.pick(METHODS) : method,
    path: spoilPath(dice, path),
    headers: { authorization: printable(`${dice.pick(SCHEMES)} ${credential}`) },
    body: body === undefined ? '' : mutateMessage(dice, body),
  })
}

function spoil(dice: Dice, request: FuzzRequest): FuzzRequest {
  if (dice.below(3) > 0) return withoutBody(request)
  const [name, value] = dice.pick(HEADERS)
  return withoutBody({ ...request, headers: { ...request.headers, [name]: value } })
}

/** A client cannot send a body with these, and would take its bytes for the next request. */
const withoutBody = (request: FuzzRequest): FuzzRequest =>
  request.method === 'GET' || request.method === 'HEAD' ? { ...request, body: '' } : request

/** What a client can put on the wire at all: visible characters, in the path escaped where they must be. */
const spoilPath = (dice: Dice, path: string): string =>
  `/${mutateText(dice, path)
    .replace(/^\/+/, '')
    .replace(/[^\x21-\x7e]/g, (letter) => encodeURIComponent(letter.isWellFormed() ? letter : '?'))
    .replaceAll('#', '%23')}`

const printable = (header: string): string => header.replace(/[^\x20-\x7e]/g, '?').trim()
