import { type Logger, pino } from 'pino'

/** A structured logger: fields first, then the event in two to four words. */
export type Log = Logger

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** A logger that writes one JSON object per line to standard error. */
export function openLog(level: LogLevel, node: string): Log {
  return pino(
    {
      level,
      base: { node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) }
    },
    pino.destination(2)
  )
}

export const silentLog: Log = pino({ level: 'silent' })
