package alertmanager

import "github.com/prometheus/alertmanager/notify"

func dedupKey(groupKey string) string { return notify.Key(groupKey).Hash() }
