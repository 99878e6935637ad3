/** `rules.toml`: one form of the legacy list and of the tables. */
import { readToml } from './config-file.ts'
import { readFields, type Findings } from './read.ts'
import { rulesFields } from './rules-fields.ts'
import type { InboundRule, OutboundRule, RulesSettings, RuleSet } from './settings.ts'

/**
 * Null when there is no file. Undefined when it is wrong: unlike in the reference endpoint that never means
 * "allow all", and a rule without a valid action is a problem instead of being skipped.
 */
export function loadRules(file: string | null, findings: Findings): RulesSettings | null | undefined {
  if (file === null) return null
  const raw = readToml(file, file, 'Invalid rules file', findings)
  if (raw === undefined) return undefined
  const fields = readFields(rulesFields, raw, file, findings)
  if (fields === undefined) return undefined
  const { rule, inbound, outbound } = fields
  if (rule.length > 0 && inbound !== null)
    findings.problem(
      file,
      'rule',
      'Invalid rules file: [[rule]] and [inbound] are two forms of the same: use one',
    )
  const inboundRules = inbound?.rule ?? rule
  for (const each of [...inboundRules, ...(outbound?.rule ?? [])]) warnUnconditional(each, file, findings)
  return {
    inbound: { default_action: inbound?.default_action ?? 'allow', rules: inboundRules },
    outbound: ruleSet(outbound),
  }
}

function ruleSet(
  table: { default_action: 'allow' | 'deny'; rule: readonly OutboundRule[] } | null,
): RuleSet<OutboundRule> {
  return table === null
    ? { default_action: 'allow', rules: [] }
    : { default_action: table.default_action, rules: table.rule }
}

/** A last `deny` for all is usual; a rule that lost its condition to a misspelt key is not, and looks the same. */
function warnUnconditional(rule: InboundRule | OutboundRule, file: string, findings: Findings): void {
  const path = findings.placeOf(rule)
  const { action, ...conditions } = rule
  if (Object.values(conditions).some((each) => each !== null)) return
  const misspelt = findings.warnings.some((each) => each.file === file && each.path.startsWith(`${path}.`))
  if (misspelt)
    findings.warn(file, path, `without the unknown key this rule has no condition: ${action} for all`)
}
