/** Traffic through a mesh that something is done to: pings that are counted, and a transfer whose every byte must arrive. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, vi } from 'vitest'
import type { Host } from './netns.ts'

const TRANSFER = fileURLToPath(new URL('./tcp-transfer.ts', import.meta.url))
const soon = { timeout: 30_000, interval: 20 }

export interface Ping {
  /** Waits for so many more answers. */
  replies(more: number): Promise<void>
  /** When the last answer came, by `performance.now()`. */
  lastReplyAt(): number
  end(): Promise<{ readonly sent: number; readonly lost: number }>
}

/** A hundred a second until it is ended. */
export function startPing(from: Host, address: string): Ping {
  const ping = from.spawn('ping', ['-n', '-i', '0.01', '-W', '1', address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  let last = 0
  ping.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (chunk.includes('icmp_seq=')) last = performance.now()
  })
  const answered = () =>
    new Set([...output.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence)))
  return {
    lastReplyAt: () => last,
    replies: (more) => {
      const wanted = answered().size + more
      return vi.waitFor(() => expect(answered().size).toBeGreaterThanOrEqual(wanted), soon)
    },
    end: async () => {
      ping.kill('SIGINT')
      await once(ping, 'close')
      // By number, because the last one sent may still be on its way.
      const sent = Math.max(0, ...answered())
      return { sent, lost: sent - answered().size }
    },
  }
}

interface Report {
  readonly bytes: number
  readonly sha256: string
}

/** Random bytes over one TCP connection, some 6 Mbit/s, until it is ended. */
export async function startTransfer(from: Host, to: Host, address: string) {
  const run = (host: Host, ...args: string[]): ChildProcess =>
    spawn('ip', ['netns', 'exec', host.namespace, process.execPath, TRANSFER, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  const receiver = run(to, 'receive', address)
  await once(receiver.stdout ?? expect.fail('no output'), 'data')
  const sender = run(from, 'send', address)
  const reports = Promise.all(
    [sender, receiver].map(async ({ stdout }) => JSON.parse(await text(stdout ?? expect.fail())) as Report),
  )
  // A receiver that is cut off reports nothing, and nobody may be waiting for it.
  reports.catch(() => undefined)
  return {
    /** @returns what was sent, and what has arrived. */
    end: async () => {
      sender.stdin?.end()
      const [sent, received] = await reports
      return { sent, received }
    },
    kill: () => {
      sender.kill('SIGKILL')
      receiver.kill('SIGKILL')
    },
  }
}
