/** Traffic between machines of a test, by programs that run in their namespaces. */
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, vi } from 'vitest'
import type { Host } from '../support/netns.ts'

const TOOL = join(import.meta.dirname, 'tcp-tool.ts')

/** Until the machine is gone. */
export async function serve(on: Host, port: number, address = '::'): Promise<void> {
  const server = on.spawn(process.execPath, [TOOL, 'serve', address, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (server.stdout === null) throw new Error('no output')
  await once(createInterface(server.stdout), 'line')
}

export const answers = (from: Host, address: string, port: number): Promise<boolean> =>
  from.exec(process.execPath, TOOL, 'ask', address, String(port)).then(
    () => true,
    () => false,
  )

export const ping = (from: Host, address: string, ...options: readonly string[]): Promise<boolean> =>
  from.exec('ping', '-c', '1', '-W', '1', ...options, address).then(
    () => true,
    () => false,
  )

/** Whether so many bytes come back as they went. */
export async function echoes(from: Host, address: string, port: number, bytes: number): Promise<boolean> {
  const args = ['-k', '1', '30', process.execPath, TOOL, 'fetch', address, String(port), String(bytes)]
  return (await from.exec('timeout', ...args).catch(() => '')).trim() === 'same'
}

/** A connection that is in use for as long as the machine is there; with `listen` it is the server that speaks. */
export function stream(from: Host, address: string, port: number, mode: 'stream' | 'listen' = 'stream') {
  const client = from.spawn(process.execPath, [TOOL, mode, address, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let count = 0
  let lastAt = 0
  if (client.stdout === null) throw new Error('no output')
  createInterface(client.stdout).on('line', () => {
    count++
    lastAt = performance.now()
  })
  return {
    get lastAt() {
      return lastAt
    },
    flows: (more = 3) => {
      const wanted = count + more
      return vi.waitFor(() => expect(count).toBeGreaterThanOrEqual(wanted), { timeout: 20_000, interval: 50 })
    },
    /** Resolves when nothing has come for so long. */
    quiet: (ms: number) =>
      vi.waitFor(() => expect(performance.now() - lastAt).toBeGreaterThan(ms), {
        timeout: 20_000,
        interval: 50,
      }),
  }
}
