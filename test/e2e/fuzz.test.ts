/**
 * A hundred thousand spoiled requests and frames against the running gateway, while one node goes about its business: no answer of the
 * gateway's own failure, no crash, and the one node notices nothing. What to spoil follows from the seed, which is printed.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { readRunFile } from '../../cli/run-file.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { PING } from '../../protocol/frames.ts'
import { Bystander } from '../fuzz/bystander.ts'
import { Dice, type Json, mutateMessage, mutateText } from '../fuzz/mutate.ts'
import { exchange, isRuntimesOwn, oddBytes } from '../fuzz/raw-bytes.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { type FuzzRequest, fuzzRequest } from '../fuzz/requests.ts'
import { startGateway } from '../support/claw.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261_123)
const REQUESTS = 44_000
const RAW = 2_000
const FRAMES = 54_000
const TIME_LIMIT_MS = 180_000
const SPOILERS = 6

const TELEMETRY = { uptimeSeconds: 1, load1: 0, memoryTotalBytes: 1, memoryFreeBytes: 1 }

/** Failures of the gateway with what caused them; the test shows the first. */
class Report {
  readonly failures: string[] = []
  readonly statuses = new Map<number, number>()

  status(status: number, cause: () => string): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    if (status >= 500) this.fail(`${status}: ${cause()}`)
  }

  fail(what: string): void {
    if (this.failures.length < 20) this.failures.push(what.slice(0, 4000))
  }
}

async function fuzzRequests(
  dice: Dice,
  count: number,
  report: Report,
  connection: GatewayConnection,
  credentials: Parameters<typeof fuzzRequest>[1],
): Promise<void> {
  for (let i = 0; i < count; i++) {
    const request = await fuzzRequest(dice, credentials)
    try {
      const { status, body } = await connection.request(request)
      report.status(status, () => reproducer(request, Buffer.from(body).toString()))
    } catch (error) {
      report.fail(reproducer(request, String(error)))
    }
  }
}

const reproducer = (request: FuzzRequest, answer: string): string =>
  `${JSON.stringify(request)} was answered ${answer}`

/** What a session may hear of its own spoiled frames: refusals, and closes that the protocol names. */
const isExpectedClose = (code: number): boolean =>
  code === 1000 || code === 1009 || (code >= 4000 && code < 5000)

/** One session: some frames before it registers, some after, spoiled most of the time. @returns how many it sent. */
async function fuzzSession(dice: Dice, node: RawNode, peer: RawNode, report: Report): Promise<number> {
  const { socket, register } = await node.dial()
  const refused = once(socket, 'unexpected-response').then(([, response]) => {
    report.status(response.statusCode ?? 0, () => 'a session upgrade')
    return 'refused'
  })
  refused.catch(() => {})
  socket.on('error', () => {})
  const opened = await Promise.race([once(socket, 'open').catch(() => 'failed'), refused])
  if (opened === 'refused' || opened === 'failed') {
    socket.terminate()
    return -1
  }
  const frames: string[] = []
  const add = (frame: Json) =>
    frames.push(dice.below(5) === 0 ? JSON.stringify(frame) : mutateMessage(dice, frame))
  if (dice.below(3) === 0) add({ type: 'mesh_resync' })
  if (dice.below(4) === 0) add(register)
  frames.push(JSON.stringify(register))
  for (let i = dice.below(8); i >= 0; i--) {
    add(
      dice.pick<Json>([
        { type: 'telemetry', n: i, telemetry: TELEMETRY },
        { type: 'signal', signals: [{ to: peer.id, sealed: 'AAAA' }] },
        { type: 'mesh_resync', at: { epoch: 'abcdefgh', seq: 3 } },
        register,
        '['.repeat(60_000),
      ]),
    )
  }
  const over = new Promise<void>((resolve) => {
    socket.on('close', (code) => {
      if (!isExpectedClose(code)) report.fail(`closed with ${code} after ${JSON.stringify(frames)}`)
      resolve()
    })
    socket.on('message', (data) => {
      const text = data.toString()
      if (text === 'pong') resolve()
      if (text.includes('E_INTERNAL')) report.fail(`${text} after ${JSON.stringify(frames)}`)
    })
  })
  for (const frame of frames) socket.send(dice.below(20) === 0 ? Buffer.from(mutateText(dice, frame)) : frame)
  socket.send(PING)
  await over
  socket.removeAllListeners('close')
  const gone = once(socket, 'close')
  if (socket.readyState !== socket.CLOSED) {
    socket.close()
    await gone
  }
  return frames.length
}

it(
  'stays up, answers with no failure of its own, and disturbs nobody',
  async () => {
    process.stdout.write(`seed ${SEED} (FUZZ_SEED)\n`)
    const begun = performance.now()
    const home = join(temporaryDirectory(), 'gateway')
    const running = await startGateway(home)
    let log = ''
    running.process.stderr?.on('data', (chunk) => {
      log += chunk
    })
    const url = parseGatewayUrl(running.url)
    const ca = readFileSync(running.ca, 'utf8')
    const connection = new GatewayConnection({ url, ca })
    const token = readFileSync(running.adminTokenFile, 'utf8').trim()
    const admin = new AdminClient(connection, token)
    const gateway = describeGateway(connection, readFileSync(join(home, 'server.pem'), 'utf8'))
    const workerd = readRunFile(home)?.workerd

    const { token: join_ } = await admin.createToken({ uses: 100_000, tags: ['gpu'] })
    let made = 0
    const newNode = async () => {
      const node = await RawNode.make(gateway, `fuzz-${++made}`)
      await node.enrol(join_)
      return node
    }
    const quiet = await RawNode.make(gateway, 'bystander')
    await quiet.enrol(join_)
    const nodes: [RawNode, ...RawNode[]] = [await newNode(), await newNode(), await newNode()]
    await admin.putSecret('fuzz.kept', Buffer.from('value'), { readers: { tags: ['gpu'], nodes: [] } })
    const bystander = await Bystander.connect(quiet)

    const report = new Report()
    const credentials = { admin: token, join: join_, nodes }
    let frames = 0
    const sessions = async (lane: number) => {
      const dice = new Dice(SEED + 100 + lane)
      let node = await newNode()
      while (frames < FRAMES) {
        const sent = await fuzzSession(dice, node, quiet, report)
        // A spoiled generation looks like a clone, and holds the node: that is as it should be.
        if (sent < 0) node = await newNode()
        else frames += sent
      }
    }
    const raw = async (lane: number) => {
      const dice = new Dice(SEED + 200 + lane)
      for (let i = 0; i < RAW / SPOILERS; i++) {
        const bytes = oddBytes(dice)
        for (const status of await exchange(url, ca, bytes))
          if (!isRuntimesOwn(status, bytes))
            report.status(status, () => JSON.stringify(bytes.toString('latin1').slice(0, 500)))
      }
    }
    const lanes = Array.from({ length: SPOILERS }, (_, lane) => lane)
    await Promise.all([
      ...lanes.map((lane) =>
        fuzzRequests(new Dice(SEED + lane), Math.ceil(REQUESTS / SPOILERS), report, connection, credentials),
      ),
      ...lanes.map(sessions),
      ...lanes.map(raw),
    ])
    const seconds = (performance.now() - begun) / 1000
    const answers = JSON.stringify(Object.fromEntries([...report.statuses].sort()))
    process.stdout.write(
      `${REQUESTS} requests, ${RAW} raw exchanges, ${frames} frames in ${seconds.toFixed(0)} s; ${answers}\n`,
    )

    expect(report.failures).toEqual([])
    expect(running.process.exitCode).toBeNull()
    expect(readRunFile(home)?.workerd).toEqual(workerd)
    // What the runtime says of a CONNECT, which it refuses by itself (isRuntimesOwn).
    const lines = log.split('\n').filter((line) => !line.includes('does not export a connect() function'))
    expect(lines.filter((line) => /request_failed|Uncaught|Error:/.test(line))).toEqual([])

    await bystander.settled(10_000)
    expect(bystander.disturbances).toEqual([])
    expect(bystander.sent.pings).toBeGreaterThan(20)
    const item = await admin.node('bystander')
    expect(item).toMatchObject({ id: quiet.id, status: 'online' })
    expect(item.quarantine).toBeUndefined()
    expect(item.telemetry).toEqual(TELEMETRY)
    // Nobody raised its generation meanwhile: the next one is the next one.
    await bystander.close()
    const again = await Bystander.connect(quiet)
    expect(again.disturbances).toEqual([])
    await again.close()
    connection.close()
  },
  TIME_LIMIT_MS + 60_000,
)
