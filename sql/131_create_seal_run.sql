-- The sealer's second: a pass each 100 ms, or at once while a backlog lasts. Bounded in passes too, should the clock jump.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `seal_run`()
    MODIFIES SQL DATA
BEGIN
  DECLARE v_until DATETIME(6) DEFAULT SYSDATE(6) + INTERVAL 900000 MICROSECOND;
  DECLARE v_sealed INT UNSIGNED;
  DECLARE v_size BIGINT UNSIGNED;
  DECLARE v_passes INT DEFAULT 0;
  REPEAT
    SET v_passes = v_passes + 1, v_sealed = 0;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    START TRANSACTION;
    BEGIN
      -- 3572: another run or the anchor holds the head; it seals meanwhile.
      DECLARE EXIT HANDLER FOR 3572 SET v_sealed = 0;
      SELECT size INTO v_size FROM chain_head WHERE id = 1 FOR UPDATE NOWAIT;
      CALL seal_batch(v_sealed);
    END;
    COMMIT AND NO CHAIN NO RELEASE;
    IF v_sealed < 900 THEN
      DO SLEEP(0.1);
    END IF;
  UNTIL v_passes >= 60 OR SYSDATE(6) >= v_until END REPEAT;
END
