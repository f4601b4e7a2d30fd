/**
 * The life of a small fleet, step by step: what the demo prints and the end-to-end test asserts. A step throws if what it sees is not what
 * must be, and says what it saw.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { eventually } from './eventually.ts'
import type { Lab, Machine } from './lab.ts'

export interface Step {
  readonly title: string
  /** Resolves to what was seen, a line each. */
  run(): Promise<readonly string[]>
}

const SECRET = 'db.password'
/** The most a reconnect may take: the first attempt waits up to 15 s, a second up to 4 s more, and the gateway starts in between. */
const BACK_WITHIN_MS = 60_000
const OUTAGE_PINGS = 150

export function fleetSteps(lab: Lab): readonly Step[] {
  const [a, b, c] = [lab.addMachine('alpha'), lab.addMachine('bravo'), lab.addMachine('charlie')]
  const machines = [a, b, c]
  // Bytes that a shell, a JSON encoder or a trimming reader would spoil.
  const value = `p4ß"\\ $HOME ${randomBytes(12).toString('base64')} \t`

  const online = async (names: readonly string[], limit: number) =>
    eventually(
      limit,
      () => lab.nodes(),
      (nodes) => names.every((name) => nodes.find((node) => node.name === name)?.status === 'online'),
    )
  const everyPairPings = async (): Promise<string[]> => {
    const lines: string[] = []
    for (const from of machines) {
      for (const to of machines) {
        if (from === to) continue
        const { ipv4, ipv6 } = await to.status()
        for (const address of [ipv4, ipv6]) {
          const { ms } = await eventually(
            20_000,
            () => from.ping(address, 1),
            ({ lost }) => lost === 0,
          )
          lines.push(
            `${from.name} → ${to.name} ${address}: answered${ms > 2000 ? ` after ${(ms / 1000).toFixed(1)} s` : ''}`,
          )
        }
      }
    }
    return lines
  }

  return [
    {
      title: 'the gateway starts on a machine of its own',
      async run() {
        await lab.startGateway()
        return [`serving ${lab.url}`]
      },
    },
    {
      title: 'three machines join with one token',
      async run() {
        const created = await lab.clawOutput(['token', 'create', '--uses', '3', '--tag', 'gpu', '-o', 'json'])
        const tokenFile = lab.file('join.token', (JSON.parse(created) as { token: string }).token)
        for (const machine of machines) {
          await machine.join(tokenFile)
          machine.start()
        }
        const { seen, ms } = await online(['alpha', 'bravo', 'charlie'], 30_000)
        return [
          ...seen.map(({ name, status, ipv4, ipv6 }) => `${name} ${status} ${ipv4} ${ipv6}`),
          `all online after ${Math.round(ms)} ms`,
        ]
      },
    },
    {
      title: 'every machine reaches every other across the mesh, over IPv4 and IPv6',
      run: everyPairPings,
    },
    {
      title: 'a secret reaches the jobs of the node that may read it, byte for byte, and no other',
      async run() {
        await lab.clawOutput(['secret', 'set', SECRET, '--allow-node', 'alpha'], value)
        const read = await a.exec([`PASSWORD=${SECRET}`], ['sh', '-c', 'printf %s "$PASSWORD"; exit 7'])
        assert.equal(read.stdout.toString(), value, 'the job saw another value')
        assert.equal(read.code, 7, "the job's exit code was not passed on")
        const marker = `${lab.directory}/started`
        const refused = await b.exec([`PASSWORD=${SECRET}`], ['touch', marker])
        assert.notEqual(refused.code, 0)
        assert.match(refused.stderr, /E_SECRET_DENIED/)
        assert.ok(!existsSync(marker), 'the job started without its secret')
        return [
          `alpha's job saw ${value.length} characters, SHA-256 ${createHash('sha256').update(value).digest('hex').slice(0, 16)}…, and its exit code 7 came through`,
          `bravo: refused with E_SECRET_DENIED, exit code ${refused.code}, and the job did not start`,
        ]
      },
    },
    {
      title: 'a node that is killed is seen offline',
      async run() {
        await c.end('SIGKILL')
        const { ms } = await eventually(
          60_000,
          () => lab.nodes(),
          (nodes) => nodes.find(({ name }) => name === 'charlie')?.status === 'offline',
        )
        return [`charlie offline after ${Math.round(ms)} ms`, ...(await stillPings(a, c))]
      },
    },
    {
      title: 'it comes back as the same node, with the same address',
      async run() {
        const before = await c.status()
        c.start()
        await online(['charlie'], 30_000)
        const after = await c.status()
        assert.deepEqual([after.id, after.ipv4, after.ipv6], [before.id, before.ipv4, before.ipv6])
        return [`charlie is ${after.id} at ${after.ipv4}, as before`, ...(await everyPairPings())]
      },
    },
    {
      title: 'the gateway is killed and comes back: the tunnels carry on, nothing is lost, everyone returns',
      async run() {
        const before = await lab.nodes()
        const { ipv4 } = await b.status()
        const pinging = a.ping(ipv4, OUTAGE_PINGS)
        await lab.killGateway()
        const offline = await eventually(
          30_000,
          () => a.status(),
          ({ session }) => session !== 'connected',
        )
        const { sent, lost } = await pinging
        assert.equal(lost, 0, `${lost} of ${sent} packets were lost while the gateway was away`)
        const job = await a.exec([`PASSWORD=${SECRET}`], ['sh', '-c', 'printf %s "$PASSWORD"'])
        assert.equal(job.stdout.toString(), value, `the job saw another value: ${job.stderr}`)
        assert.match(job.stderr, /using the secrets that are kept on this node/)
        await lab.startGateway()
        const { ms } = await online(['alpha', 'bravo', 'charlie'], BACK_WITHIN_MS)
        const after = await lab.nodes()
        const identity = ({ id, name, ipv4: address, keys }: (typeof before)[number]) => ({
          id,
          name,
          address,
          keys,
        })
        assert.deepEqual(after.map(identity), before.map(identity))
        assert.equal(await lab.clawOutput(['secret', 'get', SECRET]), value)
        return [
          `alpha noticed (${offline.seen.session}), and ${sent} of ${sent} pings to bravo came back meanwhile`,
          "alpha's job started all the same, with the secret that its node has kept",
          `all three online ${(ms / 1000).toFixed(1)} s after the gateway was back, registry and secret as before`,
        ]
      },
    },
    {
      title: 'agents that are stopped leave nothing behind',
      async run() {
        for (const machine of machines) {
          await machine.end('SIGTERM')
          assert.doesNotMatch(await machine.run('ip', '-o', 'link'), new RegExp(machine.interface))
        }
        const { seen } = await eventually(
          30_000,
          () => lab.nodes(),
          (nodes) => nodes.every(({ status }) => status === 'offline'),
        )
        return [`no interface left; ${seen.length} nodes offline`]
      },
    },
  ]
}

/** The data plane of a killed agent carries on. */
async function stillPings(from: Machine, to: Machine): Promise<string[]> {
  const { ipv4 } = await to.status()
  const { sent, lost } = await from.ping(ipv4, 10)
  assert.equal(lost, 0, `${lost} of ${sent} packets to a node without agent were lost`)
  return [`its tunnel carries on: ${sent} of ${sent} pings from ${from.name} answered`]
}
