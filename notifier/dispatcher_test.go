package notifier_test

import (
	"testing"
	"time"
)

func TestDispatcherTiming(t *testing.T) {
	deskTest(t, routed(), func(t *testing.T, k *desk) {
		k.post(named("a"))
		k.until(10 * time.Second)
		k.post(named("b"))
		k.until(29 * time.Second)
		k.want()
		k.until(31 * time.Second)
		k.want("30s team/0 FirstNotification a,b")
		k.until(2 * time.Minute)
		k.post(named("c"))
		k.until(5*time.Minute + 29*time.Second)
		k.want()
		k.until(5*time.Minute + 31*time.Second)
		k.want("5m30s team/0 NewAlertsInGroup a,b,c")
		k.resolve(named("a"))
		k.until(11 * time.Minute)
		k.want("10m30s team/0 NewResolvedAlerts -a,b,c")
		k.resolve(named("b"), named("c"))
		k.until(16 * time.Minute)
		k.want("15m30s team/0 AllAlertsResolved -b,-c")
		k.until(17 * time.Minute)
		if len(k.store.groups)+len(k.d.Groups(time.Now())) != 0 {
			t.Errorf("the group is still there: %v", k.store.groups)
		}
		k.post(named("a"))
		k.until(18 * time.Minute)
		k.want("17m30s team/0 FirstNotification a")
	})
}
