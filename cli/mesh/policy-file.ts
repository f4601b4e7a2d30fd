/** A policy in a file: read, and its problems told with file, line and column. */
import { UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import type { MeshPolicyDocument, PolicyProblem } from '../../protocol/mesh-policy.ts'
import { readPolicy } from '../../protocol/mesh-policy-read.ts'
import { readInputFile } from '../secrets/input.ts'
import { findPlaces, type JsonPlaces, nearestPlace } from './json-places.ts'

export interface PolicyFile {
  readonly path: string
  readonly document: MeshPolicyDocument
  readonly places: JsonPlaces
}

/** @throws UserError with every problem that is seen without the fleet. */
export function readPolicyFile(path: string): PolicyFile {
  const text = new TextDecoder().decode(readInputFile(path))
  let document: MeshPolicyDocument
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw new UserError({
      code: 'E_MESH_POLICY_INVALID',
      message: `${path} is not JSON`,
      why: error instanceof Error ? error.message : undefined,
    })
  }
  const places = findPlaces(text)
  const file = { path, document, places }
  const repeated = places.repeated.map((at) => ({
    at,
    kind: 'form' as const,
    message: 'this field is there twice',
  }))
  const read = readPolicy(document)
  const problems = [...repeated, ...(read.ok ? [] : read.error)]
  if (problems.length > 0) throw policyError(file, problems)
  return file
}

/** A line for each: `policy.json:12:9: rules[2].dst[0]: there is no node alpha`. */
const problemLines = ({ path, places }: PolicyFile, problems: readonly PolicyProblem[]): string[] =>
  problems.map(({ at, message }) => {
    const { line, column } = nearestPlace(places, at)
    return `${path}:${line}:${column}: ${at}: ${message}`
  })

export function policyError(file: PolicyFile, problems: readonly PolicyProblem[]): UserError {
  const isTests = problems.every(({ kind }) => kind === 'test')
  const code = isTests ? 'E_MESH_POLICY_TEST' : 'E_MESH_POLICY_INVALID'
  return new UserError({
    code,
    message: ERRORS[code].title,
    why: problemLines(file, problems).join('\n'),
  })
}
