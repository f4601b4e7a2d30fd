/** UDP packets there and back at a steady rate, whatever becomes of them: `ping` slows down while nothing comes back. */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, vi } from 'vitest'
import type { Host } from './netns.ts'

const PORT = 7_778

const ECHO = `
const socket = require('dgram').createSocket('udp4')
socket.on('message', (packet, { port, address }) => socket.send(packet, port, address, () => {}))
socket.bind(${PORT}, () => console.log('ready'))`

/** Says how many have come back, and at the end all that there is to say. What is still under way then has half a second to arrive. */
const SENDER = `
const [address, rate] = process.argv.slice(1)
const socket = require('dgram').createSocket('udp4'); const sentAt = []; const back = new Set(); let gap = 0, last
socket.on('message', (packet) => {
  back.add(packet.readUInt32BE()); const now = performance.now()
  if (last !== undefined) gap = Math.max(gap, now - last); last = now
})
const begun = performance.now(); let sent = 0
const send = setInterval(() => {
  for (; sent < (performance.now() - begun) / 1000 * rate; sent++) {
    const packet = Buffer.alloc(64); packet.writeUInt32BE(sent); socket.send(packet, ${PORT}, address, () => {})
  }
}, 2)
const tell = setInterval(() => console.log(back.size), 50)
process.stdin.on('end', () => {
  clearInterval(send)
  setTimeout(() => { console.log(JSON.stringify({ sent, lost: sent - back.size, longestGapMs: Math.round(gap) })); process.exit() }, 500)
}).resume()`

export interface Outcome {
  readonly sent: number
  readonly lost: number
  /** Between two that came back. */
  readonly longestGapMs: number
}

export type Packets = Awaited<ReturnType<typeof startPackets>>

export async function startPackets(from: Host, to: Host, address: string, perSecond = 100) {
  const echo = to.spawn(process.execPath, ['-e', ECHO], { stdio: ['ignore', 'pipe', 'inherit'] })
  if (echo.stdout === null) throw new Error('no output')
  await once(createInterface(echo.stdout), 'line')
  const sender = from.spawn(process.execPath, ['-e', SENDER, address, String(perSecond)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (sender.stdout === null) throw new Error('no output')
  let count = 0
  let last = ''
  createInterface(sender.stdout).on('line', (line) => {
    last = line
    if (!line.startsWith('{')) count = Number(line)
  })
  return {
    /** Waits for so many more to come back. */
    replies: (more: number) => {
      const wanted = count + more
      return vi.waitFor(() => expect(count).toBeGreaterThanOrEqual(wanted), { timeout: 30_000, interval: 20 })
    },
    finish: async (): Promise<Outcome> => {
      sender.stdin?.end()
      await once(sender, 'close')
      echo.kill()
      return JSON.parse(last) as Outcome
    },
  }
}
