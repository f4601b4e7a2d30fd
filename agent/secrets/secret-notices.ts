/** What the running agent tells the commands on its node: that a secret has changed, or that it cannot know whether one has. */
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import * as z from 'zod'
import { SecretName } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import { socketPath } from '../local-status.ts'

export const NOTICES_PATH = '/secret-notices'

export const SecretNotice = z.discriminatedUnion('type', [
  z.object({ type: z.literal('changed'), name: SecretName, version: z.int().positive() }),
  /** A session has begun: what was pushed before it was pushed to nobody. */
  z.object({ type: z.literal('check') }),
])
export type SecretNotice = z.infer<typeof SecretNotice>

interface Listener {
  /** The agent listens for these names from now on. */
  readonly onOpen: () => void
  readonly onNotice: (notice: SecretNotice) => void
}

/** Until the agent ends or the signal aborts. @returns false if no agent runs on this directory, or one that cannot do this. */
export function listenToAgent(
  directory: string,
  names: readonly SecretName[],
  { onOpen, onNotice }: Listener,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const query = new URLSearchParams(names.map((name): [string, string] => ['name', name]))
    const path = `${NOTICES_PATH}?${query}`
    const asked = request({ socketPath: socketPath(directory), path, signal }, (response) => {
      if (response.statusCode !== 200) {
        response.resume()
        return resolve(false)
      }
      onOpen()
      const lines = createInterface(response)
      lines.on('line', (line) => {
        const notice = SecretNotice.safeParse(parseJson(line))
        // A newer agent may say more.
        if (notice.success) onNotice(notice.data)
      })
      response.once('close', () => resolve(true))
      // An agent that dies breaks off in the middle; that it is gone is all there is to know.
      for (const stream of [response, lines]) stream.on('error', () => {})
    })
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

/** The agent's side: who wants to hear of which secret. */
export class SecretWatchers {
  readonly #watchers = new Set<{
    readonly names: ReadonlySet<string>
    readonly tell: (notice: SecretNotice) => void
  }>()

  /** @returns how to end it. */
  add(names: readonly SecretName[], tell: (notice: SecretNotice) => void): () => void {
    const watcher = { names: new Set<string>(names), tell }
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  changed(name: SecretName, version: number): void {
    for (const { names, tell } of this.#watchers) {
      if (names.has(name)) tell({ type: 'changed', name, version })
    }
  }

  checkAll(): void {
    for (const { tell } of this.#watchers) tell({ type: 'check' })
  }
}
