/** PATCH /v1/nodes/NAME: the tags of a node, by which policies know it. */
import * as z from 'zod'
import { Tags } from './ids.ts'

/** All of them anew; or some more and some less, which two people can ask for at once without undoing each other's. */
export const TagChange = z.union([
  Tags,
  z
    .strictObject({ add: Tags.default([]), remove: Tags.default([]) })
    .refine(({ add, remove }) => add.length + remove.length > 0, 'nothing to change')
    .refine(({ add, remove }) => !add.some((tag) => remove.includes(tag)), 'a tag both added and removed'),
])
export type TagChange = z.output<typeof TagChange>

export const NodePatchBody = z.strictObject({ tags: TagChange })
export type NodePatchBody = z.input<typeof NodePatchBody>

/** Each once, in the order in which they came; more than a node may have is for the caller to refuse. */
export function changeTags(tags: Tags, change: TagChange): Tags {
  if (Array.isArray(change)) return [...new Set(change)]
  return [...new Set([...tags, ...change.add])].filter((tag) => !change.remove.includes(tag))
}

/** As facts of an audit entry. */
export const tagFacts = (change: TagChange): Record<string, string> =>
  Array.isArray(change)
    ? { tags: change.join(' ') }
    : {
        ...(change.add.length > 0 && { add: change.add.join(' ') }),
        ...(change.remove.length > 0 && { remove: change.remove.join(' ') }),
      }
