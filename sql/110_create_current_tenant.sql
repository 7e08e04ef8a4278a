-- DETERMINISTIC is what lets a view use it for an index look-up; within one statement it is true.
CREATE DEFINER=`api_definer`@`localhost` FUNCTION `current_tenant`() RETURNS binary(16)
    READS SQL DATA
    DETERMINISTIC
BEGIN
  DECLARE v_nonce BINARY(16) DEFAULT IF(LENGTH(@ztmysql_nonce) = 16, CAST(@ztmysql_nonce AS BINARY), NULL);
  DECLARE v_account VARCHAR(32) DEFAULT
    LEFT(SESSION_USER(), CHAR_LENGTH(SESSION_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(SESSION_USER(), '@', -1)) - 1);
  DECLARE v_tenant BINARY(16);
  -- Before any table is read: under SERIALIZABLE that read would lock grants and the neighbours' inserts.
  IF NOT EXISTS (
    SELECT 1 FROM performance_schema.events_transactions_current x
    WHERE x.THREAD_ID = PS_CURRENT_THREAD_ID() AND x.STATE = 'ACTIVE'
      AND x.ISOLATION_LEVEL = 'READ COMMITTED' AND x.XID_FORMAT_ID IS NULL
  ) THEN
    SIGNAL SQLSTATE '45T03' SET MESSAGE_TEXT = 'the transaction is not READ COMMITTED';
  END IF;
  SELECT c.tenant_id INTO v_tenant
  FROM boot b
  JOIN tenant_context c ON c.connection_id = CONNECTION_ID()
    AND c.nonce = v_nonce AND c.boot_id = b.boot_id AND c.account = v_account
  JOIN tenant_grant g ON g.tenant_id = c.tenant_id AND g.account = c.account AND g.state = 'active'
  JOIN tenants t ON t.tenant_id = c.tenant_id AND t.state = 'active'
  WHERE b.id = 1;
  IF v_tenant IS NULL THEN
    SIGNAL SQLSTATE '45T01' SET MESSAGE_TEXT = 'no tenant context';
  END IF;
  RETURN v_tenant;
END
