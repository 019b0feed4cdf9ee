--
-- PostgreSQL database dump
--


-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Data for Name: anomalies; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.anomalies OVERRIDING SYSTEM VALUE VALUES
	(1, '2026-11-26 12:07:58.524603+00', 'TRAFFIC', 0, 12, 'out_of_range', '01a217c1-5f3b-71ea-9297-06b94321f171', 'cost_picousd', '\xe5f6e24eb072356685c0bbba9b76ec246339c2fb710d61aa15462010a2233eda', '\x9daa736574746c65642e7631dc0016a96f70656e65642e7631d92430316132313763312d356633622d373165612d393239372d303662393433323166313731cf000001a217c15f3ba6656467652d3197d94030393932393561333738346531626433363864633334383834336137333938633139333162366238656332353034633733653931656432303430626463343663aa616c696365732d6b6579a67465616d2d61a65465616d2041a5616c696365c0ad696e7465726e616c5f75736572ab61636f6d706c6574696f6eb12f636861742f636f6d706c6574696f6e73a3677074a26431a66f70656e6169ab6770742d346f2d6d696e6997ce000249f0ce000927c0c0c000a57461626c65a0c2c091a361707080c0c090c0c0cf000001a217ca86fbcf000001a217c16035a773756363657373ccc8960a14000000a870726f7669646572ffc0c0c001c090'),
	(2, '2026-11-26 12:07:58.524603+00', 'TRAFFIC', 0, 13, 'unreadable', NULL, 'message: ValidationError', '\xef875a1705a5fdac206be996f4dc1f726ea6b68861eb741c37def7277f179e37', '\x6a756e6b');


--
-- Data for Name: audit_log; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.audit_log VALUES
	(1, '\x0000000000000000000000000000000000000000000000000000000000000000', '\x085e689229d3ac3e57fa9de46290ed11b9a007545e44d59218c18a69cb107ee2', 1, 'control.team.a', '\x7b2274797065223a22636f6e74726f6c2e7631222c226964223a2230316132313763312d356637312d373636642d616233632d323066653633376261396164222c2261745f6d73223a313739353639343837383537372c226b696e64223a227465616d222c22656e746974795f6964223a2261222c22616374696f6e223a2263726561746564222c226163746f72223a5b226c6974656c6c6d5f70726f78795f6d61737465725f6b6579222c6e756c6c2c6e756c6c2c6e756c6c2c2264656661756c745f757365725f6964222c6e756c6c2c2270726f78795f61646d696e225d2c226265666f7265223a6e756c6c2c226166746572223a7b227465616d5f6964223a2261227d2c226f6e5f626568616c665f6f66223a6e756c6c2c227265717565737465725f6970223a6e756c6c7d', '01a217c1-5f71-766d-ab3c-20fe637ba9ad', 1795694878577, 'team', 'a', 'created', 'litellm_proxy_master_key', 'default_user_id', 'proxy_admin', NULL, NULL, NULL, '{"team_id":"a"}'),
	(2, '\x085e689229d3ac3e57fa9de46290ed11b9a007545e44d59218c18a69cb107ee2', '\x9d531ddae48e160d3cb4fa397c249baaa5eb0a52df1cc08ec1a7bd07026351d2', 2, 'control.team.b', '\x7b2274797065223a22636f6e74726f6c2e7631222c226964223a2230316132313763312d356637312d373636642d616233632d323066663439633231383133222c2261745f6d73223a313739353639343837383537372c226b696e64223a227465616d222c22656e746974795f6964223a2262222c22616374696f6e223a2263726561746564222c226163746f72223a5b226c6974656c6c6d5f70726f78795f6d61737465725f6b6579222c6e756c6c2c6e756c6c2c6e756c6c2c2264656661756c745f757365725f6964222c6e756c6c2c2270726f78795f61646d696e225d2c226265666f7265223a6e756c6c2c226166746572223a7b227465616d5f6964223a2262227d2c226f6e5f626568616c665f6f66223a6e756c6c2c227265717565737465725f6970223a6e756c6c7d', '01a217c1-5f71-766d-ab3c-20ff49c21813', 1795694878577, 'team', 'b', 'created', 'litellm_proxy_master_key', 'default_user_id', 'proxy_admin', NULL, NULL, NULL, '{"team_id":"b"}'),
	(3, '\x9d531ddae48e160d3cb4fa397c249baaa5eb0a52df1cc08ec1a7bd07026351d2', '\x504d738b00e77c1ac7a1318cd739e5d2ade3b613c8a64ae4bcdf905ed0f3d69e', 3, 'control.team.c', '\x7b2274797065223a22636f6e74726f6c2e7631222c226964223a2230316132313763312d356637312d373636642d616233632d323130303834336630626532222c2261745f6d73223a313739353639343837383537372c226b696e64223a227465616d222c22656e746974795f6964223a2263222c22616374696f6e223a2263726561746564222c226163746f72223a5b226c6974656c6c6d5f70726f78795f6d61737465725f6b6579222c6e756c6c2c6e756c6c2c6e756c6c2c2264656661756c745f757365725f6964222c6e756c6c2c2270726f78795f61646d696e225d2c226265666f7265223a6e756c6c2c226166746572223a7b227465616d5f6964223a2263227d2c226f6e5f626568616c665f6f66223a6e756c6c2c227265717565737465725f6970223a6e756c6c7d', '01a217c1-5f71-766d-ab3c-2100843f0be2', 1795694878577, 'team', 'c', 'created', 'litellm_proxy_master_key', 'default_user_id', 'proxy_admin', NULL, NULL, NULL, '{"team_id":"c"}');


--
-- Data for Name: batch_log; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.batch_log VALUES
	(0, 1, '\x0000000000000000000000000000000000000000000000000000000000000000', '\xe6d23ec4eab6b5c54ef764fe38ca79d209a3cd4b51fbf5522c9454f755a8732c', 0, 0, 1795694878487, 2, '\x01a217c15f057480a8354308d11b9dec01a217c15f057480a835430946f36741ece9ed7d005d822604a7173944f55dad73af267b11135e045f3c942f25ecf35c81a2a194ab6674d3f7d4e6a01a451e0ea6cda46ba2a5d584298f1832735942be'),
	(0, 2, '\xe6d23ec4eab6b5c54ef764fe38ca79d209a3cd4b51fbf5522c9454f755a8732c', '\xd971a1eb219654133892f5e36239c25c80f56d356d92e2b09765345235316625', 4, 6, 1795694878500, 3, '\x01a217c15f057480a8354308d11b9dec01a217c15f2375629ed9a60283a303e601a217c15f2375629ed9a603bceaac524f6760fe6f27940a6371e7e06ed37507756fd5af5328ee7bab5b59d2c1483438fd3502faa9e8b3786c9c38f53d340b1cbb63254dc0e9e3b72537fbe144ccc183516378e64211f799a6247e062725228ee9f2af00d94e4aad95f50271296ff08e'),
	(0, 3, '\xd971a1eb219654133892f5e36239c25c80f56d356d92e2b09765345235316625', '\x895da07241c81f72e674100c214ac9ff48795dfb8cf5fa47bbac65ba9ea3bb13', 7, 10, 1795694878520, 4, '\x01a217c15f3774eb90e9e40cd21a0a8301a217c15f3774eb90e9e40dc8d3fb6401a217c15f3774eb90e9e40e84c16de001a217c15f3774eb90e9e40f30a43603a395813fe135477648a52751dba0233207ba1ac3189281a4aceac59e0ff844f689d717838bbc8c09ea4240585394127404e07c2ccac717639535d888752623513e39e2448cd8cb7a836ec545d5e367c27e2f9a08ee62f0fa7803c9a53054bd07d5cb83eb55be64740324b3cc3e5690170f9c5a627552e33a10f741574c628bc6'),
	(0, 4, '\x895da07241c81f72e674100c214ac9ff48795dfb8cf5fa47bbac65ba9ea3bb13', '\xb960d170f6c7523592b06d4d611450f70b556ce2bc10ffbe92bbc9e2bb9eff84', 11, 13, 1795694878524, 2, '\x01a217c15f3b71ea929706b8980b4c9c01a217c15f3b71ea929706b94321f171be3c12b9413b6df9979ea09ace62301604470f5f2cb5bc4831866f5c25311e9887e599029f36d85ea7dc964c279b70c1243a1511de0a8993ab340f4c93542c3f'),
	(1, 1, '\x0000000000000000000000000000000000000000000000000000000000000000', '\x76d4bfc2bf596fb9042fb77302c4c7794eb45e99520d47841278ab1492b2449c', 1, 1, 1795694878534, 2, '\x01a217c15f46777aae103453402664c901a217c15f46777aae1034547c6ffa52815232c48766134b69d126a83693b40da8a0fa5089bc003f7dca61df210dad45f71e9659179574f684cb52374cc436cd1b247d0d1f33436dd3fbc97f1e0af42a');


--
-- Data for Name: request_log_default; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.request_log_default VALUES
	('2026-11-26', '01a217c1-5f05-7480-a835-4308d11b9dec', true, 'expired', 0, 1795694878469, NULL, 1795694878487, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 0, 'expired', NULL, 0, 0, 0, 0, 0, 'none', NULL, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{late}', '{}', NULL, NULL, '[]', '[]', NULL, '\x3dd143c84eb3913408b47d630d76011906d4d6ad794e9c896c051ea226d22ba8', NULL, 0, 1),
	('2026-11-26', '01a217c1-5f05-7480-a835-430946f36741', true, 'expired', 0, 1795694878469, NULL, 1795694878487, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 0, 'expired', NULL, 0, 0, 0, 0, 0, 'none', NULL, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\xca877f7502a9261ac9fae3299f196ac23eafdbd00861d3110c5d82d290553240', NULL, 0, 1),
	('2026-11-26', '01a217c1-5f05-7480-a835-4308d11b9dec', false, 'success', 200, 1795694878469, NULL, 1795694878719, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500000, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{late}', '{}', NULL, NULL, '[]', '[]', NULL, '\xb8a367d80266e234e5319397503275509680cc29ae5674b9d015dcb881f63083', 4, 0, 2),
	('2026-11-26', '01a217c1-5f23-7562-9ed9-a60283a303e6', false, 'refused', 403, 1795694878499, NULL, 1795694878499, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, '', '/chat/completions', 'gpt', NULL, NULL, NULL, NULL, NULL, NULL, false, 0, 'model_not_allowed', 'policy', 0, 0, 0, 0, 0, 'none', 0, 0, NULL, '{x}', '{}', NULL, NULL, '[]', '[]', NULL, '\xa772e0c1f984bde6207caaeba672fda781c662598cd3974e9261662e10a1e9e5', 5, 0, 2),
	('2026-11-26', '01a217c1-5f23-7562-9ed9-a603bceaac52', false, 'success', 200, 1795694878499, NULL, 1795694878749, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500000, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{a,b}', '{"hello":"wörld �","n":[1,2.5,null]}', NULL, NULL, '[]', '[]', '{spend_logs_metadata}', '\x378716170a71723f525efa4ce7355a22a464d6e5f33b6ae2c98332fb7e03ed82', 6, 0, 2),
	('2026-11-26', '01a217c1-5f37-74eb-90e9-e40cd21a0a83', false, 'success', 200, 1795694878519, NULL, 1795694878769, 'edge-1', '1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 'robot', 'team-a', 'Team A', NULL, NULL, 'internal_user', 'c0', 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500012, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":75000,"cache_write_picousd":null,"request_picousd":12,"source":"table","version":"v1"}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\x4648a55d446c57e5877ea53cf20b74f3bf8e5ea615551b4856fb0f45e515fe70', 7, 0, 3),
	('2026-11-26', '01a217c1-5f37-74eb-90e9-e40dc8d3fb64', false, 'success', 200, 1795694878519, NULL, 1795694878769, 'edge-1', '1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 'robot', 'team-a', 'Team A', NULL, NULL, 'internal_user', 'c1', 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500012, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":75000,"cache_write_picousd":null,"request_picousd":12,"source":"table","version":"v1"}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\xa0ad6826fe7c0ef2bcf12bbf8af3215544a74534823c011b2b8d2484ba4146d2', 8, 0, 3),
	('2026-11-26', '01a217c1-5f37-74eb-90e9-e40e84c16de0', false, 'success', 200, 1795694878519, NULL, 1795694878769, 'edge-1', '1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 'robot', 'team-a', 'Team A', NULL, NULL, 'internal_user', 'c2', 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500012, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":75000,"cache_write_picousd":null,"request_picousd":12,"source":"table","version":"v1"}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\x8eac325d0e2fc2fa8fad737d60747296a3b8516f3d7e5cb812f3370b96a5359f', 9, 0, 3),
	('2026-11-26', '01a217c1-5f37-74eb-90e9-e40f30a43603', false, 'success', 200, 1795694878519, NULL, 1795694878769, 'edge-1', '1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 'robot', 'team-a', 'Team A', NULL, NULL, 'internal_user', 'c3', 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500012, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":75000,"cache_write_picousd":null,"request_picousd":12,"source":"table","version":"v1"}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\x216f0eef082768c7eba32c50fefe2c744585305d0301b714f7cc2c01359e8fad', 10, 0, 3),
	('2026-11-26', '01a217c1-5f3b-71ea-9297-06b8980b4c9c', false, 'success', 200, 1795694878523, NULL, 1795694878773, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'm�', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500000, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt~2cc1099916aea5c868c123b33836373e5179967e206236b245e5ca4050a6e58d}', '{}', NULL, NULL, '[]', '[]', '{model,tags}', '\x31ee1ad06e4c623f43145a78ef8150dde53cd2d0648665e4641266b122ec174b', 11, 0, 4),
	('2026-11-26', '01a217c1-5f3b-71ea-9297-06b94321f171', false, 'success', 200, 1795694878523, NULL, 1795694878773, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', NULL, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{app}', '{}', NULL, NULL, '[]', '[]', '{cost_picousd}', '\xe5f6e24eb072356685c0bbba9b76ec246339c2fb710d61aa15462010a2233eda', 12, 0, 4),
	('2026-11-26', '01a217c1-5f46-777a-ae10-3453402664c9', false, 'success', 200, 1795694878534, NULL, 1795694878784, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', NULL, NULL, NULL, false, 1, NULL, NULL, 10, 20, 0, 0, 0, 'provider', 13500000, NULL, '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,"source":"table","version":""}', '{app}', '{}', NULL, NULL, '[]', '[]', NULL, '\xe1dfc00a704345d7170b26679e46e92d8306227f21058893544a1eff06e07c09', 1, 1, 1),
	('2026-11-26', '01a217c1-5f46-777a-ae10-34547c6ffa52', false, 'refused', 403, 1795694878534, NULL, 1795694878534, 'edge-1', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 'alices-key', 'team-a', 'Team A', 'alice', NULL, 'internal_user', NULL, '', '/chat/completions', 'gpt', NULL, NULL, NULL, NULL, NULL, NULL, false, 0, 'model_not_allowed', 'policy', 0, 0, 0, 0, 0, 'none', 0, 0, NULL, '{}', '{}', NULL, NULL, '[]', '[]', NULL, '\xf5b05bb8280a4013c39ac44d0197f007943c57f9f96760cbd27d37e83c554430', 1, 1, 1);


--
-- Data for Name: request_open; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.request_open VALUES
	('01a217c1-5f05-7480-a835-430a657f0075', 0, 1795695478469, '\x62fc3b506c4d2e6074db190e338f3a5e5f70a1ab680378c526623a5b070f6633', '\xdc0016a96f70656e65642e7631d92430316132313763312d356630352d373438302d613833352d343330613635376630303735cf000001a217c15f05a6656467652d3197d94030393932393561333738346531626433363864633334383834336137333938633139333162366238656332353034633733653931656432303430626463343663aa616c696365732d6b6579a67465616d2d61a65465616d2041a5616c696365c0ad696e7465726e616c5f75736572ab61636f6d706c6574696f6eb12f636861742f636f6d706c6574696f6e73a3677074a26431a66f70656e6169ab6770742d346f2d6d696e6997ce000249f0ce000927c0c0c000a57461626c65a0c2c091aa7374696c6c2d6f70656e80c0c090c0c0cf000001a217ca86c5');


--
-- Data for Name: rollup; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.rollup VALUES
	('', 'team', '2026-11-26', 'team-a', 12, 9, 3, 90, 180, DEFAULT, 108000048, 2),
	('', 'tag', '2026-11-26', 'a', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('', 'tag', '2026-11-26', 'b', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('', 'tag', '2026-11-26', 'late', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('', 'total', '2026-11-26', '', 12, 9, 3, 90, 180, DEFAULT, 108000048, 2),
	('user:alice', 'tag', '2026-11-26', 'a', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('user:alice', 'tag', '2026-11-26', 'b', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('user:alice', 'tag', '2026-11-26', 'late', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('', 'customer', '2026-11-26', 'c0', 1, 1, 0, 10, 20, DEFAULT, 13500012, 0),
	('', 'customer', '2026-11-26', 'c1', 1, 1, 0, 10, 20, DEFAULT, 13500012, 0),
	('', 'customer', '2026-11-26', 'c2', 1, 1, 0, 10, 20, DEFAULT, 13500012, 0),
	('', 'customer', '2026-11-26', 'c3', 1, 1, 0, 10, 20, DEFAULT, 13500012, 0),
	('', 'user', '2026-11-26', 'alice', 8, 5, 3, 50, 100, DEFAULT, 54000000, 2),
	('', 'key', '2026-11-26', '1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 4, 4, 0, 40, 80, DEFAULT, 54000048, 0),
	('user:alice', 'tag', '2026-11-26', 'app', 3, 2, 1, 20, 40, DEFAULT, 13500000, 2),
	('', 'deployment', '2026-11-26', 'd1', 10, 9, 1, 90, 180, DEFAULT, 108000048, 2),
	('', 'key', '2026-11-26', '099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c', 8, 5, 3, 50, 100, DEFAULT, 54000000, 2),
	('', 'model', '2026-11-26', 'gpt', 9, 8, 1, 80, 160, DEFAULT, 94500048, 2),
	('', 'provider', '2026-11-26', 'openai', 10, 9, 1, 90, 180, DEFAULT, 108000048, 2),
	('', 'tag', '2026-11-26', 'app', 7, 6, 1, 60, 120, DEFAULT, 67500048, 2),
	('key:1a26d5b29fa28bef596fed0b512376b3469940c4386351d27cbf1875a877d51c', 'tag', '2026-11-26', 'app', 4, 4, 0, 40, 80, DEFAULT, 54000048, 0),
	('', 'model', '2026-11-26', 'm�', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('', 'tag', '2026-11-26', 'ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt~2cc1099916aea5c868c123b33836373e5179967e206236b245e5ca4050a6e58d', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0),
	('user:alice', 'tag', '2026-11-26', 'ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt~2cc1099916aea5c868c123b33836373e5179967e206236b245e5ca4050a6e58d', 1, 1, 0, 10, 20, DEFAULT, 13500000, 0);


--
-- Data for Name: schema_migration; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.schema_migration VALUES
	('0001_book.sql', '56afdd0d8524221931820bcb4f050fbbafe56d2a15a5b53bbdfa7d98d8f29288', '2026-11-26 12:07:58.421245+00');


--
-- Data for Name: stream_position; Type: TABLE DATA; Schema: tollgate; Owner: -
--

INSERT INTO tollgate.stream_position VALUES
	('TRAFFIC', 0, 13, 1013, 4, '\xb960d170f6c7523592b06d4d611450f70b556ce2bc10ffbe92bbc9e2bb9eff84', '2026-11-26 12:07:58.524603+00'),
	('TRAFFIC', 1, 1, 1, 1, '\x76d4bfc2bf596fb9042fb77302c4c7794eb45e99520d47841278ab1492b2449c', '2026-11-26 12:07:58.550664+00'),
	('CONTROL', 0, 3, 3, 3, '\x504d738b00e77c1ac7a1318cd739e5d2ade3b613c8a64ae4bcdf905ed0f3d69e', '2026-11-26 12:07:58.577376+00');


--
-- Name: anomalies_n_seq; Type: SEQUENCE SET; Schema: tollgate; Owner: -
--

SELECT pg_catalog.setval('tollgate.anomalies_n_seq', 2, true);


--
-- PostgreSQL database dump complete
--


