import { requireRole } from './require-role.ts'

export const requireAdmin = requireRole('admin')
