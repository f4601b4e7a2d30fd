/** /v1/nodes/NAME/routes: the networks behind a node, which it offers and its owner approves. */
import * as z from 'zod'
import { Cidr } from './ids.ts'
import { MAX_NODE_ROUTES } from './limits.ts'

export const NodeRoutes = z.object({ offered: z.array(Cidr), approved: z.array(Cidr) })
export type NodeRoutes = z.infer<typeof NodeRoutes>

const Networks = z.array(Cidr).max(MAX_NODE_ROUTES).default([])
export const RouteChange = z
  .strictObject({ approve: Networks, withdraw: Networks })
  .refine(({ approve, withdraw }) => approve.length + withdraw.length > 0, 'nothing to change')
  .refine(
    ({ approve, withdraw }) => !approve.some((one) => withdraw.includes(one)),
    'a network both approved and withdrawn',
  )
export type RouteChange = z.output<typeof RouteChange>
export type RouteChangeBody = z.input<typeof RouteChange>

/** As facts of an audit entry. */
export const routeFacts = ({ approve, withdraw }: RouteChange): Record<string, string> => ({
  ...(approve.length > 0 && { approve: approve.join(' ') }),
  ...(withdraw.length > 0 && { withdraw: withdraw.join(' ') }),
})
