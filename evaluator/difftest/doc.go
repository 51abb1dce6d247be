// Package difftest holds tocsin's evaluator against Prometheus: the same rule file, the same series, the
// same instants, and after each evaluation the same alerts. It has tests only, and two oracles:
//
//   - Prometheus' own rule groups, in this process, over series in memory (TestRandomRules,
//     TestRandomRecording, TestHistograms). The evaluator runs whole, with its HTTP client, under virtual time; thousands of
//     evaluations of random rules over random series take seconds. -rapid.checks=1000 looks longer.
//   - The prometheus binary, in real time (TestRealPrometheus): a scripted run over its real query API. There
//     the instants differ, and the sequences of states are compared.
//
// # What must agree
//
// After each evaluation of the group: which alerts there are, their labels and states, when they became
// active, when they fired, since when keep_firing_for holds them, their values (-0 is not 0); and whether the
// rule is healthy. Each annotation must be as Prometheus has it, or had it at the alert's last transition: those
// whose template asks a query are not rendered again.
//
// # What may differ, on purpose
//
//   - An alert fires at active_at + for, and one that keep_firing_for holds ends in time too; Prometheus waits
//     for the next evaluation. So fired_at may be earlier, by less than an interval; and where the series
//     changes within that interval, tocsin may have seen an alert fire, or end, that Prometheus has not.
//     Such an alert is compared again from the next evaluation on that leaves both without it.
//   - Where a rule takes a label away, one alert may stand for one series and then for another. Its annotations
//     go on to show the labels of the series that it had at its last transition.
//   - An alert that keep_firing_for holds stays when a reload raises for; Prometheus makes it pending, though its
//     series is gone, and drops it at the next evaluation.
//   - An evaluation that exceeds the group's limit is an error to both; Prometheus forgets all alerts of the
//     rule, tocsin keeps them. The rule is compared again once both have no alerts of it.
//
// Start reading at world.compare.
package difftest
