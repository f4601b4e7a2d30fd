/**
 * /v1/mesh/policy: who may reach whom. Everybody who may look at the fleet may read it and try another one out; to set it is for
 * administrators, as it is to say who may read a secret.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { Hono } from 'hono'
import { sha256, utf8 } from '../../crypto/bytes.ts'
import { Cidr, NodeName } from '../../protocol/ids.ts'
import { MeshPolicyDocument } from '../../protocol/mesh-policy.ts'
import { readPolicy } from '../../protocol/mesh-policy-read.ts'
import { parsePortQuery } from '../../protocol/port-set.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { readJsonText } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet } from '../objects.ts'

const TARGET = 'mesh:policy'

export const meshPolicyRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .get('/', async (c) => {
    const version = readVersion(c, 'version')
    const policy = await callFleet(c, (fleet) => fleet.meshPolicy(version))
    if (policy === undefined) throw new RefusedError('E_MESH_POLICY_NOT_FOUND')
    return c.json(policy)
  })
  .put('/', requireRole('admin'), async (c) => {
    const cas = readVersion(c, 'cas')
    if (cas === undefined)
      throw new RefusedError('E_QUERY_INVALID', 'cas is the version it replaces, 0 for none')
    const document = parseDocument(await readJsonText(c))
    const text = JSON.stringify(document)
    const entry = {
      actor: c.var.actor,
      action: 'mesh.policy.set',
      target: TARGET,
      detail: { replaces: cas, rules: document.rules.length, sha256: bytesToHex(await sha256(utf8(text))) },
    }
    const { first } = await audit(c, entry)
    const { actor } = c.var
    const set = await callFleet(c, (fleet) => fleet.setMeshPolicy({ text, cas, actor }), { tries: 1 })
    if (!set.ok)
      await audit(c, {
        ...entry,
        outcome: 'failed',
        reason: set.error.code,
        detail: { ...entry.detail, of: first },
      })
    return c.json(orRefuse(set))
  })
  .get('/history', async (c) => c.json(await callFleet(c, (fleet) => fleet.meshPolicyHistory())))
  .post('/test', async (c) => {
    const text = JSON.stringify(await readJsonText(c))
    return c.json(await callFleet(c, (fleet) => fleet.testMeshPolicy(text)))
  })
  .get('/explain', async (c) => {
    const question = readQuestion(c)
    return c.json(orRefuse(await callFleet(c, (fleet) => fleet.explainMesh(question))))
  })

/** @throws RefusedError with every problem there is, one a line. */
function parseDocument(input: unknown): MeshPolicyDocument {
  const read = readPolicy(input)
  if (read.ok) return MeshPolicyDocument.parse(input)
  throw new RefusedError(
    'E_MESH_POLICY_INVALID',
    read.error.map(({ at, message }) => `${at}: ${message}`).join('\n'),
  )
}

function readVersion(c: GatewayContext, name: 'version' | 'cas'): number | undefined {
  const text = c.req.query(name)
  if (text === undefined) return undefined
  if (!/^[0-9]{1,9}$/.test(text))
    throw new RefusedError('E_QUERY_INVALID', `${name} is a version of the policy`)
  return Number(text)
}

function readQuestion(c: GatewayContext) {
  const from = NodeName.safeParse(c.req.query('from')).data
  const to = NodeName.safeParse(c.req.query('to')).data ?? Cidr.safeParse(c.req.query('to')).data
  const port = c.req.query('port')
  const query = port === undefined ? undefined : parsePortQuery(port)
  if (from === undefined || to === undefined || (port !== undefined && query === undefined))
    throw new RefusedError(
      'E_QUERY_INVALID',
      'from is a node, to a node or a network, port is tcp:PORT, udp:PORT or icmp',
    )
  return { from, to, query }
}
