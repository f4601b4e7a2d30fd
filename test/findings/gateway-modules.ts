/**
 * Modules of the gateway as Node runs them, for tests that give them stores and objects of their own. Imported by a name that the compiler
 * does not follow: the types of workerd and of Node cannot be in one program.
 */
const load = async (path: string): Promise<unknown> => import(new URL(`../../${path}`, import.meta.url).href)

export interface GatewayApp {
  fetch(request: Request, env: object, ctx: object): Promise<Response>
}

export const loadApp = async (): Promise<GatewayApp> =>
  ((await load('worker/app.ts')) as { app: GatewayApp }).app

/** What of the object's SQLite the address pool uses. */
export interface PoolSql {
  first(query: string, ...bindings: (string | number)[]): Record<string, unknown> | undefined
  run(query: string, ...bindings: (string | number)[]): void
}

export interface AddressPool {
  leaseAddress(
    sql: PoolSql,
    range: { first: number; last: number },
    node: string,
    now: number,
  ): number | undefined
  moveAddress(
    sql: PoolSql,
    range: { first: number; last: number },
    move: { node: string; from: number; to: number; now: number },
  ): 'outside' | 'taken' | 'resting' | undefined
  releaseAddress(sql: PoolSql, ipv4: number, now: number): void
  isAnyOutside(sql: PoolSql, range: { first: number; last: number }): boolean
}

export const loadAddressPool = async (): Promise<AddressPool> =>
  (await load('durable-objects/address-leases.ts')) as AddressPool
