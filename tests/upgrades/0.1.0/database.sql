BEGIN TRANSACTION;
CREATE TABLE customer (
	id INTEGER NOT NULL, 
	mail VARCHAR(300), 
	given_name VARCHAR(300), 
	family_name VARCHAR(300), 
	wants_news BOOLEAN, 
	own_list VARCHAR(40), 
	notes TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "customer" VALUES(1,'ada@example.com','ada',NULL,0,NULL,NULL);
INSERT INTO "customer" VALUES(2,'bea@example.com','bea',NULL,0,NULL,NULL);
INSERT INTO "customer" VALUES(3,'cleo@example.com','Cleopatra',NULL,1,NULL,NULL);
INSERT INTO "customer" VALUES(4,'dora@example.com','dora',NULL,1,NULL,NULL);
INSERT INTO "customer" VALUES(6,'zoe@example.com','zoe',NULL,1,NULL,NULL);
INSERT INTO "customer" VALUES(7,'finn@example.com',NULL,NULL,1,NULL,NULL);
CREATE TABLE mailchimp_optin_audience (
	id INTEGER NOT NULL, 
	connection_id INTEGER NOT NULL, 
	list_id VARCHAR(40) NOT NULL, 
	web_id VARCHAR(40) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	double_optin BOOLEAN NOT NULL, 
	member_count INTEGER NOT NULL, 
	subscribe_url VARCHAR(500) NOT NULL, 
	stored_at DATETIME NOT NULL, 
	gone_at DATETIME, 
	read_at DATETIME, 
	read_in_full_at DATETIME, 
	webhook_id VARCHAR(40), 
	webhook_url_hint VARCHAR(255), 
	token_hash VARCHAR(64), 
	token_hash_before VARCHAR(64), 
	sealed_secret TEXT, 
	webhook_checked_at DATETIME, 
	merge_fields TEXT, 
	merge_fields_at DATETIME, 
	webhook_problem TEXT, 
	CONSTRAINT pk_mailchimp_optin_audience PRIMARY KEY (id), 
	CONSTRAINT fk_mailchimp_optin_audience_connection_id FOREIGN KEY(connection_id) REFERENCES mailchimp_optin_connection (id) ON DELETE CASCADE, 
	CONSTRAINT uq_mailchimp_optin_audience_list UNIQUE (connection_id, list_id)
);
INSERT INTO "mailchimp_optin_audience" VALUES(1,1,'0a1b2c3d4e','498137','Newsletter',0,0,'http://127.0.0.1:42193/subscribe?u=ec88d310ea608be772371df0&id=0a1b2c3d4e','2026-11-26 12:00:00.866946',NULL,'2026-11-26 12:00:02.227919','2026-11-26 12:00:02.227919','0e976fdefd',NULL,'d97cd1f04951f45bc68f9b18b1e8e7d3ce8d1a354372998ab70450fdbb90d6eb',NULL,'gAAAAABrCLDDWpmKTDRUhNLFv9nvni0FjBdzf5psXgN-G5_PYBJRmPVBrjJEyJBp-rkcDoQuhHuYA4qU16Vn31GhMv9l-ZXvP92BPC3o5TNZo7SgmZi6oUJXCA9sr3MD8_yylRGDIqYOoesuZ_zWV2NXapGOnJ5-qz2L3Cw4BplhZEy4d1a6j-rQsqziDDs086slDy_bRn6b','2026-11-26 12:00:01.555940','[{"tag": "ADDRESS", "name": "Address", "type": "address", "required": false}, {"tag": "FNAME", "name": "First Name", "type": "text", "required": false}, {"tag": "LNAME", "name": "Last Name", "type": "text", "required": false}, {"tag": "PHONE", "name": "Phone Number", "type": "phone", "required": false}, {"tag": "BIRTHDAY", "name": "Birthday", "type": "birthday", "required": false}]','2026-11-26 12:00:01.007345',NULL);
CREATE TABLE mailchimp_optin_connection (
	id INTEGER NOT NULL, 
	tenant VARCHAR(190) NOT NULL, 
	sealed_key TEXT NOT NULL, 
	key_hint VARCHAR(40) NOT NULL, 
	account_name VARCHAR(255) NOT NULL, 
	site TEXT NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	master_audience_id INTEGER, 
	left_audience_id INTEGER, 
	daily BOOLEAN NOT NULL, 
	daily_at VARCHAR(5) NOT NULL, 
	daily_zone VARCHAR(64) NOT NULL, 
	always_confirm BOOLEAN NOT NULL, 
	on_delete VARCHAR(20) NOT NULL, 
	epoch INTEGER NOT NULL, 
	suspended TEXT, 
	paused_until DATETIME, 
	fetched_lists TEXT, 
	fetched_at DATETIME, 
	last_daily_on VARCHAR(10), 
	synced_at DATETIME, 
	lease_owner VARCHAR(40), 
	lease_until DATETIME, 
	fence INTEGER NOT NULL, 
	shards INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_mailchimp_optin_connection PRIMARY KEY (id), 
	CONSTRAINT uq_mailchimp_optin_connection_tenant UNIQUE (tenant)
);
INSERT INTO "mailchimp_optin_connection" VALUES(1,'','gAAAAABrCLDCYmDKkM8l0Au_EUrUn9Qvz8mPxWL4mZI5HiDeo44E4zAN9kYcQ7LTEAO3AyPbhWJIHA-ygNq_NutpNPjjBrtzpkcZnCoCJvfHWh5we1LMelnxnpFm_qZfOdSJehjWZe8sr4souzX2Jpct7qdyDAHr-g==','…cdef-us6','Sandbox Ltd','host.example.com host.sqlite3',1,1,NULL,0,'03:00','UTC',0,'delete',1,NULL,NULL,NULL,NULL,'2026-11-26','2026-11-26 12:00:03.431811',NULL,NULL,3,0,'2026-11-26 12:00:00.836767');
CREATE TABLE mailchimp_optin_contact (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	connection_id INTEGER NOT NULL, 
	audience_id INTEGER NOT NULL, 
	address VARCHAR(254) NOT NULL, 
	wanted BOOLEAN, 
	wanted_at DATETIME, 
	version INTEGER NOT NULL, 
	acked_version INTEGER NOT NULL, 
	decided_version INTEGER NOT NULL, 
	settled_version INTEGER NOT NULL, 
	agreed VARCHAR(10) NOT NULL, 
	agreed_opt_at DATETIME, 
	agreed_at DATETIME, 
	seen_status VARCHAR(20), 
	seen_changed_at DATETIME, 
	seen_opt_at DATETIME, 
	seen_at DATETIME, 
	subscribed_seen_at DATETIME, 
	open_verb VARCHAR(10), 
	open_version INTEGER, 
	open_at DATETIME, 
	open_opt_at DATETIME, 
	late TEXT, 
	removed_at DATETIME, 
	asked_version INTEGER, 
	profile VARCHAR(64), 
	profile_tags TEXT, 
	moved_from VARCHAR(254), 
	renamed_to VARCHAR(254), 
	orphan VARCHAR(20), 
	due_at DATETIME, 
	look BOOLEAN NOT NULL, 
	run_id INTEGER, 
	attempts INTEGER NOT NULL, 
	refusal VARCHAR(30), 
	refusal_text TEXT, 
	refused_at DATETIME, 
	CONSTRAINT fk_mailchimp_optin_contact_connection_id FOREIGN KEY(connection_id) REFERENCES mailchimp_optin_connection (id) ON DELETE CASCADE, 
	CONSTRAINT fk_mailchimp_optin_contact_audience_id FOREIGN KEY(audience_id) REFERENCES mailchimp_optin_audience (id) ON DELETE CASCADE, 
	CONSTRAINT uq_mailchimp_optin_contact_address UNIQUE (audience_id, address)
);
INSERT INTO "mailchimp_optin_contact" VALUES(1,1,1,'dora@example.com',1,NULL,1,1,1,1,'yes','2026-11-26 12:00:05.000000',NULL,'subscribed','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.226845','2026-11-26 12:00:05.226845',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'6dd082979f31481a753a3e6713abe1169bced80b7751d2650e3c05c370e4804a','FNAME',NULL,NULL,NULL,NULL,0,NULL,0,NULL,NULL,NULL);
INSERT INTO "mailchimp_optin_contact" VALUES(2,1,1,'ada@example.com',1,NULL,1,1,1,1,'yes','2026-11-26 12:00:05.000000',NULL,'subscribed','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.226845','2026-11-26 12:00:05.226845',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'1e7ef4b95b31bc3dec37a4a6b2f8d9e29bb5a2d114358df1086f134299589ff1','FNAME',NULL,NULL,NULL,NULL,0,NULL,0,NULL,NULL,NULL);
INSERT INTO "mailchimp_optin_contact" VALUES(3,1,1,'zoe@example.com',1,NULL,1,1,1,0,'nothing',NULL,NULL,'absent',NULL,NULL,'2026-11-26 12:00:05.072685',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-29 12:00:05.250321',0,NULL,0,'too_many_lists','Mailchimp says that this address signed up to many lists very recently. It is tried again in a few days.','2026-11-26 12:00:05.250321');
INSERT INTO "mailchimp_optin_contact" VALUES(5,1,1,'cleo@example.com',1,NULL,1,1,1,1,'yes','2026-11-26 12:00:05.000000',NULL,'subscribed','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.000000','2026-11-26 12:00:05.226845','2026-11-26 12:00:05.226845',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'4f19729a35a1fbd7b55c1ab7cd6a7ccd22211bc783e26f4574446d3f7e7d76e7','FNAME',NULL,NULL,NULL,NULL,0,NULL,0,NULL,NULL,NULL);
INSERT INTO "mailchimp_optin_contact" VALUES(6,1,1,'bea@example.com',0,'2026-11-26 12:00:05.729515',2,2,2,2,'no','2026-11-26 12:00:05.000000','2026-11-26 12:00:06.144700','unsubscribed','2026-11-26 12:00:06.000000','2026-11-26 12:00:05.000000','2026-11-26 12:00:06.067457','2026-11-26 12:00:06.005584',NULL,NULL,NULL,NULL,NULL,'2026-11-26 12:00:06.000000',NULL,'af858f1a2bf654e1307789d78262c57c36f8e249f5688862b8d549d6e8561ad1','FNAME',NULL,NULL,NULL,NULL,0,NULL,0,NULL,NULL,NULL);
CREATE TABLE mailchimp_optin_customer (
	id INTEGER NOT NULL, 
	customer_key VARCHAR(190) NOT NULL, 
	connection_id INTEGER NOT NULL, 
	audience_id INTEGER, 
	own_list BOOLEAN NOT NULL, 
	address VARCHAR(254), 
	opt_in BOOLEAN, 
	decided_at DATETIME, 
	erased_at DATETIME, 
	leaves_at DATETIME, 
	problem TEXT, 
	seen_at DATETIME NOT NULL, 
	CONSTRAINT pk_mailchimp_optin_customer PRIMARY KEY (id), 
	CONSTRAINT fk_mailchimp_optin_customer_connection_id FOREIGN KEY(connection_id) REFERENCES mailchimp_optin_connection (id) ON DELETE CASCADE, 
	CONSTRAINT uq_mailchimp_optin_customer_key UNIQUE (customer_key)
);
INSERT INTO "mailchimp_optin_customer" VALUES(1,'1',1,1,0,'ada@example.com',1,NULL,NULL,NULL,NULL,'2026-11-26 12:00:04.594550');
INSERT INTO "mailchimp_optin_customer" VALUES(2,'2',1,1,0,'bea@example.com',0,'2026-11-26 12:00:05.729515',NULL,NULL,NULL,'2026-11-26 12:00:05.851834');
INSERT INTO "mailchimp_optin_customer" VALUES(3,'3',1,1,0,'cleo@example.com',1,NULL,NULL,NULL,NULL,'2026-11-26 12:00:04.604428');
INSERT INTO "mailchimp_optin_customer" VALUES(4,'4',1,1,0,'dora@example.com',1,NULL,NULL,NULL,NULL,'2026-11-26 12:00:04.604462');
INSERT INTO "mailchimp_optin_customer" VALUES(6,'6',1,1,0,'zoe@example.com',1,NULL,NULL,NULL,NULL,'2026-11-26 12:00:04.604520');
CREATE TABLE mailchimp_optin_decision (
	id INTEGER NOT NULL, 
	tenant VARCHAR(190) NOT NULL, 
	customer_key VARCHAR(190) NOT NULL, 
	address VARCHAR(254), 
	list_id VARCHAR(40), 
	value BOOLEAN NOT NULL, 
	previous BOOLEAN, 
	decided_at DATETIME NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	actor VARCHAR(190), 
	source VARCHAR(60) NOT NULL, 
	page VARCHAR(255), 
	wording TEXT, 
	ip VARCHAR(45), 
	receipt TEXT, 
	CONSTRAINT pk_mailchimp_optin_decision PRIMARY KEY (id)
);
INSERT INTO "mailchimp_optin_decision" VALUES(1,'','1','ada@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.045361','2026-11-26 12:00:04.045361',NULL,'code',NULL,NULL,NULL,'subscribed (subscribed, changed there 2026-11-26 12:00:05 UTC)');
INSERT INTO "mailchimp_optin_decision" VALUES(2,'','2','bea@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.111674','2026-11-26 12:00:04.111674',NULL,'code',NULL,NULL,NULL,'subscribed (subscribed, changed there 2026-11-26 12:00:05 UTC)');
INSERT INTO "mailchimp_optin_decision" VALUES(3,'','3','cleo@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.141867','2026-11-26 12:00:04.141867',NULL,'code',NULL,NULL,NULL,'subscribed (subscribed, changed there 2026-11-26 12:00:05 UTC)');
INSERT INTO "mailchimp_optin_decision" VALUES(4,'','4','dora@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.184975','2026-11-26 12:00:04.184975',NULL,'code',NULL,NULL,NULL,'subscribed (subscribed, changed there 2026-11-26 12:00:05 UTC)');
INSERT INTO "mailchimp_optin_decision" VALUES(5,'','5','eva@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.232598','2026-11-26 12:00:04.232598',NULL,'code',NULL,NULL,NULL,'subscribed (subscribed, changed there 2026-11-26 12:00:05 UTC)');
INSERT INTO "mailchimp_optin_decision" VALUES(6,'','6','zoe@example.com','0a1b2c3d4e',1,NULL,'2026-11-26 12:00:04.258477','2026-11-26 12:00:04.258477',NULL,'code',NULL,NULL,NULL,'too_many_lists (absent)');
INSERT INTO "mailchimp_optin_decision" VALUES(7,'','2','bea@example.com','0a1b2c3d4e',0,1,'2026-11-26 12:00:05.729515','2026-11-26 12:00:05.729515',NULL,'code',NULL,NULL,NULL,'unsubscribed, as decided (unsubscribed, changed there 2026-11-26 12:00:06 UTC)');
CREATE TABLE mailchimp_optin_erasure (
	id INTEGER NOT NULL, 
	tenant VARCHAR(190) NOT NULL, 
	mark VARCHAR(64) NOT NULL, 
	erased_at DATETIME NOT NULL, 
	CONSTRAINT pk_mailchimp_optin_erasure PRIMARY KEY (id), 
	CONSTRAINT uq_mailchimp_optin_erasure_mark UNIQUE (tenant, mark)
);
INSERT INTO "mailchimp_optin_erasure" VALUES(1,'','9691e0a13914cf920d6702a337db8dd7','2026-11-26 12:00:05.745854');
CREATE TABLE mailchimp_optin_outbox (
	id INTEGER NOT NULL, 
	tenant VARCHAR(190), 
	customer_key VARCHAR(190), 
	number INTEGER NOT NULL, 
	has_no BOOLEAN NOT NULL, 
	changes TEXT, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_mailchimp_optin_outbox PRIMARY KEY (id)
);
INSERT INTO "mailchimp_optin_outbox" VALUES(1,'','1',1,1,'[{"source": "code", "named": false}, [["1", false, true, false, "ada@example.com", null]]]','2026-11-26 12:00:07.044767');
INSERT INTO "mailchimp_optin_outbox" VALUES(2,'','3',1,0,'[{"source": "code", "named": false}, [["3"]]]','2026-11-26 12:00:07.058966');
INSERT INTO "mailchimp_optin_outbox" VALUES(3,'','7',1,0,'[{"source": "code", "named": false}, [["7", true, null, true, "finn@example.com", null]]]','2026-11-26 12:00:07.079684');
CREATE TABLE mailchimp_optin_shard (
	id INTEGER NOT NULL, 
	connection_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	lease_owner VARCHAR(40), 
	lease_until DATETIME, 
	fence INTEGER NOT NULL, 
	asked BOOLEAN NOT NULL, 
	CONSTRAINT pk_mailchimp_optin_shard PRIMARY KEY (id), 
	CONSTRAINT fk_mailchimp_optin_shard_connection_id FOREIGN KEY(connection_id) REFERENCES mailchimp_optin_connection (id) ON DELETE CASCADE, 
	CONSTRAINT uq_mailchimp_optin_shard_number UNIQUE (connection_id, number)
);
INSERT INTO "mailchimp_optin_shard" VALUES(1,1,0,NULL,NULL,1,0);
CREATE TABLE mailchimp_optin_sync_run (
	id INTEGER NOT NULL, 
	connection_id INTEGER NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	phase VARCHAR(20) NOT NULL, 
	cursor TEXT, 
	epoch INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	phase_at DATETIME, 
	subscribed INTEGER, 
	customers INTEGER NOT NULL, 
	customers_done INTEGER NOT NULL, 
	members INTEGER NOT NULL, 
	members_done INTEGER NOT NULL, 
	to_send INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	boxes_on INTEGER NOT NULL, 
	boxes_off INTEGER NOT NULL, 
	removals INTEGER NOT NULL, 
	asks INTEGER NOT NULL, 
	message TEXT, 
	CONSTRAINT pk_mailchimp_optin_sync_run PRIMARY KEY (id), 
	CONSTRAINT fk_mailchimp_optin_sync_run_connection_id FOREIGN KEY(connection_id) REFERENCES mailchimp_optin_connection (id) ON DELETE CASCADE
);
INSERT INTO "mailchimp_optin_sync_run" VALUES(1,1,'initial','done','send','{}',1,'2026-11-26 12:00:01.143974','2026-11-26 12:00:03.407696','2026-11-26 12:00:02.965143',0,0,0,0,0,0,0,0,0,0,0,NULL);
CREATE TABLE mailchimp_optin_webhook_event (
	id INTEGER NOT NULL, 
	audience_id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	type VARCHAR(20) NOT NULL, 
	address VARCHAR(254), 
	new_address VARCHAR(254), 
	fired_at DATETIME, 
	received_at DATETIME NOT NULL, 
	verified VARCHAR(20) NOT NULL, 
	outcome VARCHAR(255), 
	answered_at DATETIME, 
	CONSTRAINT pk_mailchimp_optin_webhook_event PRIMARY KEY (id), 
	CONSTRAINT fk_mailchimp_optin_webhook_event_audience_id FOREIGN KEY(audience_id) REFERENCES mailchimp_optin_audience (id) ON DELETE CASCADE, 
	CONSTRAINT uq_mailchimp_optin_webhook_event_digest UNIQUE (audience_id, digest)
);
INSERT INTO "mailchimp_optin_webhook_event" VALUES(1,1,'8f0947582a9fb59e217bc3b1d348b4f90f0529bccd355e72f268cdd1f0116a8e','unsubscribe','dora@example.com',NULL,'2026-11-26 12:00:07.000000','2026-11-26 12:00:07.144626','signature',NULL,NULL);
CREATE INDEX ix_mailchimp_optin_outbox_tenant ON mailchimp_optin_outbox (tenant, has_no, id);
CREATE INDEX ix_mailchimp_optin_outbox_customer ON mailchimp_optin_outbox (customer_key);
CREATE INDEX ix_mailchimp_optin_decision_tenant ON mailchimp_optin_decision (tenant, recorded_at);
CREATE INDEX ix_mailchimp_optin_decision_customer ON mailchimp_optin_decision (customer_key, id);
CREATE INDEX ix_mailchimp_optin_audience_token_before ON mailchimp_optin_audience (token_hash_before);
CREATE INDEX ix_mailchimp_optin_audience_token ON mailchimp_optin_audience (token_hash);
CREATE INDEX ix_mailchimp_optin_customer_connection ON mailchimp_optin_customer (connection_id, address);
CREATE INDEX ix_mailchimp_optin_customer_address ON mailchimp_optin_customer (audience_id, address);
CREATE INDEX ix_mailchimp_optin_customer_problem ON mailchimp_optin_customer (connection_id, id) WHERE problem IS NOT NULL OR erased_at IS NOT NULL;
CREATE INDEX ix_mailchimp_optin_sync_run_state ON mailchimp_optin_sync_run (connection_id, state);
CREATE INDEX ix_mailchimp_optin_contact_run ON mailchimp_optin_contact (run_id);
CREATE INDEX ix_mailchimp_optin_contact_refusal ON mailchimp_optin_contact (connection_id, refusal, id) WHERE refusal IS NOT NULL;
CREATE INDEX ix_mailchimp_optin_contact_due ON mailchimp_optin_contact (connection_id, wanted, due_at, id);
CREATE INDEX ix_mailchimp_optin_webhook_event_outcome ON mailchimp_optin_webhook_event (outcome);
CREATE INDEX ix_mailchimp_optin_webhook_event_audience ON mailchimp_optin_webhook_event (audience_id, id);
COMMIT;
