package sigv4

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/config"
)

func TestAConfigIsReadFromJSON(t *testing.T) {
	var got Config
	err := config.Decode([]byte(`{
		"service": "lambda", "region": "eu-central-1", "profile": "p", "role_arn": "arn:aws:iam::123456789012:role/r",
		"external_id": "e", "session_name": "n", "session_duration": "30m", "session_tags": ["team"],
		"sts_endpoint": "http://127.0.0.1:1", "signed_headers": ["X-Tenant"], "sign_content_sha256": true,
		"single_encoded_path": true, "keep_path": true, "max_identities": 5
	}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Service: "lambda", Region: "eu-central-1", Profile: "p", RoleARN: "arn:aws:iam::123456789012:role/r",
		ExternalID: "e", SessionName: "n", SessionDuration: 30 * time.Minute, SessionTags: []string{"team"},
		STSEndpoint: "http://127.0.0.1:1", SignedHeaders: []string{"X-Tenant"}, SignContentSHA256: true,
		SingleEncodedPath: true, KeepPath: true, MaxIdentities: 5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
