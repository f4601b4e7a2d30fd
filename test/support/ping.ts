/** A ping that goes on while something happens to the path. */
import { once } from 'node:events'
import { expect, vi } from 'vitest'
import type { Host } from './netns.ts'

export function startPing(from: Host, address: string, everySeconds = 0.05) {
  const process = from.spawn('ping', ['-n', '-i', String(everySeconds), address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  process.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const answered = () => [...output.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence))
  const count = () => answered().length
  return {
    /** Waits for so many more. */
    replies: (more: number) => {
      const wanted = count() + more
      return vi.waitFor(() => expect(count()).toBeGreaterThanOrEqual(wanted), {
        timeout: 30_000,
        interval: 50,
      })
    },
    get sent(): number {
      return Math.max(...answered())
    },
    /** Ends it. */
    lost: async (): Promise<number> => {
      process.kill('SIGINT')
      await once(process, 'close')
      // By number, because the last one sent may still be on its way.
      return Math.max(...answered()) - new Set(answered()).size
    },
  }
}
