/** Flags of the commands that read secrets. */
import { parseDuration } from '../../host/duration.ts'
import { type OptionSpec, usageError } from '../../host/options.ts'
import { WorkloadName } from '../../protocol/secret-policy.ts'

export const waitOption = {
  type: 'string',
  value: 'TIME',
  default: '60s',
  help: 'how long to wait for secrets that are not to be had yet; 0: not at all',
} as const satisfies OptionSpec

export const workloadOption = {
  type: 'string',
  value: 'NAME',
  help: 'what this job calls itself, for policies that tell the jobs of a node apart',
} as const satisfies OptionSpec

/** In milliseconds. */
export const parseWait = (text: string): number => (text === '0' ? 0 : parseDuration(text))

export function parseWorkload(text: string | undefined): WorkloadName | undefined {
  if (text === undefined) return undefined
  const workload = WorkloadName.safeParse(text)
  if (workload.success) return workload.data
  throw usageError(`--workload: ${workload.error.issues[0]?.message ?? 'not a name'}`)
}
