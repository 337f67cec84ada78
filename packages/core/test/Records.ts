/** What tests of stores write, with whatever a test wants otherwise. */

export const newRecord = (key: string, fields: object = {}) => ({
  key,
  idleTimeout: 600_000,
  lifetime: 3_600_000,
  subject: undefined,
  format: 1,
  payload: "first",
  ...fields
})

export const change = (fields: object = {}) => ({
  format: 1,
  payload: "second",
  idleTimeout: 600_000,
  lifetime: undefined,
  active: true,
  ...fields
})

export const replacement = (key: string, fields: object = {}) => ({
  key,
  format: 1,
  payload: "renewed",
  subject: undefined,
  idleTimeout: 600_000,
  lifetime: undefined,
  authenticated: false,
  ...fields
})
