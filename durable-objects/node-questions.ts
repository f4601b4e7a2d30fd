/** Questions to nodes over their sessions, whose answers somebody waits for: in memory, because whoever waits keeps the object awake. */
import type { NodeId } from '../protocol/ids.ts'
import { MAX_MESH_QUESTIONS, MESH_ANSWER_TIMEOUT_MS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'

export class NodeQuestions {
  readonly #timeoutMs: number
  readonly #open = new Map<NodeId, Map<string, (answer: string) => void>>()

  constructor(timeoutMs = MESH_ANSWER_TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs
  }

  /** @param send puts the question to the node. */
  async ask(
    node: NodeId,
    request: string,
    send: () => void,
  ): Promise<Result<string, 'E_RATE_LIMITED' | 'E_NODE_SILENT'>> {
    const open = this.#open.get(node) ?? new Map<string, (answer: string) => void>()
    if (open.size >= MAX_MESH_QUESTIONS || open.has(request)) return err('E_RATE_LIMITED')
    this.#open.set(node, open)
    let timer: number | undefined
    try {
      const answer = await new Promise<string | undefined>((resolve) => {
        open.set(request, resolve)
        timer = setTimeout(() => resolve(undefined), this.#timeoutMs)
        send()
      })
      return answer === undefined ? err('E_NODE_SILENT') : ok(answer)
    } finally {
      clearTimeout(timer ?? null)
      open.delete(request)
      if (open.size === 0) this.#open.delete(node)
    }
  }

  /** Of a node, to what it was asked; to anything else it is passed over, because it may only be late. */
  answer(node: NodeId, request: string, answer: string): void {
    this.#open.get(node)?.get(request)?.(answer)
  }
}
