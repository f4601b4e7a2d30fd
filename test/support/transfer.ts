/** A TCP transfer that goes on while something happens to the path, and whether what arrived is what was sent. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Host } from './netns.ts'

const PORT = 7_777

/** Says `ready`, then the number of bytes it got and their hash. */
const RECEIVER = `
const hash = require('crypto').createHash('sha256'); let bytes = 0
require('net').createServer((socket) => {
  socket.on('data', (chunk) => { hash.update(chunk); bytes += chunk.length })
  socket.on('end', () => { console.log(bytes, hash.digest('hex')); process.exit() })
}).listen({ port: ${PORT}, host: '::' }, () => console.log('ready'))`

/** Says `connected`; then some 2 MB a second until its input ends, and their number and hash. */
const SENDER = `
const { createHash, randomBytes } = require('crypto'); const hash = createHash('sha256'); let bytes = 0
const socket = require('net').connect(${PORT}, process.argv[1], () => {
  console.log('connected')
  const timer = setInterval(() => {
    if (socket.writableLength > 1e6) return
    const chunk = randomBytes(20_000); hash.update(chunk); bytes += chunk.length; socket.write(chunk)
  }, 10)
  process.stdin.on('end', () => { clearInterval(timer); socket.end(); console.log(bytes, hash.digest('hex')) }).resume()
})
socket.on('error', (error) => { console.log('failed', error.code); process.exit(1) })`

export interface Transfer {
  /** Ends it; each side's bytes and hash, as text. */
  finish(): Promise<{ readonly sent: string; readonly received: string }>
}

export async function startTransfer(from: Host, to: Host, address: string): Promise<Transfer> {
  const receiver = to.spawn(process.execPath, ['-e', RECEIVER], { stdio: ['ignore', 'pipe', 'inherit'] })
  const received = linesOf(receiver)
  await received.next()
  const sender = from.spawn(process.execPath, ['-e', SENDER, address], { stdio: ['pipe', 'pipe', 'inherit'] })
  const sent = linesOf(sender)
  await sent.next()
  return {
    finish: async () => {
      sender.stdin?.end()
      const [one, two] = await Promise.all([sent.next(), received.next(), once(sender, 'exit')])
      return { sent: String(one.value), received: String(two.value) }
    },
  }
}

function linesOf(child: ChildProcess): AsyncIterator<string> {
  if (child.stdout === null) throw new Error('no output')
  return createInterface(child.stdout)[Symbol.asyncIterator]()
}
