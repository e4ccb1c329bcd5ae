package apiserver_test

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestComponentStatuses reads what is not stored, as lists and one by one.
func TestComponentStatuses(t *testing.T) {
	a := start(t).raw(t, "admin", "system:masters")
	for _, try := range []struct {
		query string
		want  int
	}{
		{"", 3}, {"?limit=1", 3}, {"?labelSelector=a%3Db", 0}, {"?labelSelector=a!%3Db", 3},
		{"?fieldSelector=metadata.name%3Detcd-0", 1}, {"?fieldSelector=metadata.name!%3Detcd-0", 2},
	} {
		var list corev1.ComponentStatusList
		res, body := a.do("GET", "/api/v1/componentstatuses"+try.query, "")
		if err := json.Unmarshal([]byte(body), &list); err != nil || res.StatusCode != 200 || len(list.Items) != try.want {
			t.Errorf("%q: %d %s", try.query, res.StatusCode, body)
		}
	}
	if res, body := a.do("GET", "/api/v1/componentstatuses/scheduler", ""); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body := a.do("GET", "/api/v1/componentstatuses/none", ""); res.StatusCode != 404 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
