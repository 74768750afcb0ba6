package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Of polling (RFC 8628, 3.5).
const (
	defaultInterval = 5 * time.Second
	maxInterval     = time.Minute
	slowDown        = 5 * time.Second
)

// byDevice is the device authorization grant. The loop is not x/oauth2's, because
// that one cannot authenticate a client everywhere, and gives up when a server is
// busy or unreachable for a moment.
func (a *attempt) byDevice(ctx context.Context) (*token, error) {
	if err := a.chooseClient(ctx, ""); err != nil {
		return nil, err
	}
	began, err := a.beginDevice(ctx)
	if err != nil {
		return nil, err
	}
	prompt := auth.Prompt{
		URL: began.VerificationURI, UserCode: began.UserCode, Expires: began.Expiry,
		Message: fmt.Sprintf("Enter the code to log in to %v.", a.req.Target),
	}
	if u := began.VerificationURIComplete; u != "" && originOf(u) == originOf(began.VerificationURI) {
		prompt.URL = u
	}
	if err := a.dialog.Show(ctx, prompt); err != nil {
		return nil, fmt.Errorf("oauth: showing the login: %w", err)
	}
	return a.poll(ctx, began)
}

func (a *attempt) poll(ctx context.Context, began *oauth2.DeviceAuthResponse) (*token, error) {
	if !began.Expiry.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, began.Expiry, errCodeExpired)
		defer cancel()
	}
	interval := defaultInterval
	if began.Interval > 0 {
		interval = min(time.Duration(began.Interval)*time.Second, maxInterval)
	}
	for {
		if err := pause(ctx, interval); err != nil {
			if errors.Is(context.Cause(ctx), errCodeExpired) {
				return nil, a.fail("the code has expired", "log in again, within the time that the prompt gives", auth.ErrInteractionRequired)
			}
			return nil, fmt.Errorf("oauth: waiting for the login: %w", err)
		}
		t, err := a.exchange(ctx, "waiting for the login", url.Values{
			"grant_type": {grantDevice}, "device_code": {began.DeviceCode},
		})
		if err == nil {
			return t, nil
		}
		e, ok := errors.AsType[*EndpointError](err)
		if !ok {
			return nil, err
		}
		throttled, isThrottled := errors.AsType[*auth.ThrottledError](err)
		switch {
		case e.Code == "authorization_pending":
		case e.Code == "slow_down":
			interval = min(interval+slowDown, maxInterval)
		case isThrottled:
			interval = min(max(2*interval, throttled.RetryAfter), maxInterval)
		case e.Status == 0 || e.Status >= 500 && e.Code == "": // unreachable for a moment
			interval = min(2*interval, maxInterval)
		default:
			return nil, err
		}
	}
}

var errCodeExpired = errors.New("oauth: the device code has expired")

// beginDevice is RFC 8628, 3.1 and 3.2.
func (a *attempt) beginDevice(ctx context.Context) (*oauth2.DeviceAuthResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, a.p.cfg.Timeout)
	defer cancel()
	endpoint := a.meta.DeviceAuthorizationEndpoint
	params := url.Values{"resource": {a.srv.resource}}
	setScopes(params, a.scopes)
	style, secret, err := a.us.authenticate(params, assertionAudience(a.meta), a.p.clocks.at(endpoint))
	if err != nil {
		return nil, err
	}
	r := &post{p: a.p, doing: "asking for a device code", endpoint: endpoint, secrets: secretsOf(params, secret)}
	if style == oauth2.AuthStyleInParams {
		params.Set("client_id", a.us.id)
		if secret != "" {
			params.Set("client_secret", secret)
		}
	}
	data, err := r.send(ctx, "application/x-www-form-urlencoded", []byte(params.Encode()), func(req *http.Request) {
		if style == oauth2.AuthStyleInHeader {
			req.SetBasicAuth(url.QueryEscape(a.us.id), url.QueryEscape(secret))
		}
	})
	if err != nil {
		return nil, err
	}
	return parseDevice(data, r, a.srv.reach)
}

func parseDevice(data []byte, r *post, reach reach) (*oauth2.DeviceAuthResponse, error) {
	began := new(oauth2.DeviceAuthResponse)
	if err := json.Unmarshal(data, began); err != nil {
		return nil, r.failed("", "", nil)
	}
	if began.DeviceCode == "" || began.UserCode == "" || !reach.mayCall(began.VerificationURI) {
		e := r.failed("", "", nil)
		e.Err, e.Hint = errors.New("the answer has no code, or no https URL to enter it at"), ""
		return nil, e
	}
	return began, nil
}
