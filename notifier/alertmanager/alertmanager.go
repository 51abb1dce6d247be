// Package alertmanager is the only one that uses Alertmanager's configuration, templates and integrations:
// it turns the sections of an alertmanager.yml into oncall's routing, and sends notifications of groups
// and incidents through Alertmanager's own receivers.
//
// It decides nothing about when or whether something is sent: that is the dispatcher's and the core's.
package alertmanager
